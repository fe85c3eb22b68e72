"""Durations as a person reads them: the unit fits the size."""


def duration_text(secs: float | None) -> str:
    """Turns seconds into a few characters; `-` where there is nothing to say.

    >>> [duration_text(secs) for secs in (0.0724, 1.25, 600, 90_000, None)]
    ['72 ms', '1.2 s', '10 min', '25.0 h', '-']
    """
    if secs is None:
        return "-"
    if secs < 0.9995:
        return f"{1000 * secs:.0f} ms"
    if secs < 100:
        return f"{secs:.1f} s"
    return f"{secs / 60:.0f} min" if secs < 2 * 3600 else f"{secs / 3600:,.1f} h"
