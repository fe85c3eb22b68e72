"""The names of a graph's steps, by which Dataflow hands a running stream over to a new version.

A step of the new graph takes over the state of the one of its name. So the names are a promise:
what is renamed is listed here, for as long as a stream of an older release may run.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.pipeline import AppliedPTransform, PipelineVisitor

from .errors import UsageError


@dataclass(frozen=True)
class Rename:
    """A step that has another name since a release, or is gone.

    Attributes:
        since: the first release with the new name.
        old: the step's full name, `Predict/Score`; all that is inside it goes with it.
        new: its full name from then on; empty if there is no such step any more.
    """

    since: str
    old: str
    new: str


# Oldest first: a step may have been renamed more than once. tests/dataflow/step_names holds the
# names of each release; a test fails when one is neither there any more nor listed here.
RENAMES: tuple[Rename, ...] = ()


def steps_of(pipeline: beam.Pipeline) -> list[str]:
    """The full names of all steps of a graph, sorted; of those within others, too."""
    collector = _Collector()
    pipeline.visit(collector)
    return sorted(collector.names)


class _Collector(PipelineVisitor):
    def __init__(self) -> None:
        self.names: set[str] = set()

    def enter_composite_transform(self, transform_node: AppliedPTransform) -> None:
        self._add(transform_node)

    def visit_transform(self, transform_node: AppliedPTransform) -> None:
        self._add(transform_node)

    def _add(self, node: AppliedPTransform) -> None:
        if node.full_label:  # the root has none
            self.names.add(node.full_label)


def renamed(step: str, renames: Sequence[Rename] = RENAMES) -> str:
    """What a step of an earlier release is called now; empty if it is gone.

    >>> renamed("Predict/Score/A", [Rename("0.2.0", "Predict/Score", "Predict/Infer")])
    'Predict/Infer/A'
    """
    for rename in renames:
        if step == rename.old or step.startswith(f"{rename.old}/"):
            step = rename.new + step.removeprefix(rename.old) if rename.new else ""
        if not step:
            break
    return step


def name_mapping(
    old: Sequence[str],
    new: Sequence[str],
    renames: Sequence[Rename] = RENAMES,
    given: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """What `--transform_name_mapping` has to say for a stream to take over from another.

    A name stands for all steps that are inside it, too.

    Args:
        old: the steps of the stream that runs.
        new: those of the one that replaces it.
        renames: of all releases.
        given: what the user says, which counts.

    Raises:
        UsageError: a step of the running stream has no successor, and nobody said that it is gone.

    >>> name_mapping(["Read", "Score"], ["Read", "Infer"], [Rename("0.2.0", "Score", "Infer")])
    {'Score': 'Infer'}
    """
    mapping = dict(given or {})
    known, lost = set(new), []
    for step in sorted(old):  # what is around a step comes before it
        taken_over = _mapped(step, mapping)
        if taken_over == "" or taken_over in known:
            continue
        successor = renamed(step, renames)
        if successor and successor not in known:
            lost.append(step)
        else:
            mapping[step] = successor
    if lost:
        names = ", ".join(_tops(lost))
        raise UsageError(
            f"--update: the running stream has steps that the new one lacks: {names}. Drain "
            "it (gcloud dataflow jobs drain) and start the new one then; or say with "
            '--transform_name_mapping=\'{"OLD": "NEW"}\' which step takes over, "" for none.'
        )
    return mapping


def _mapped(step: str, mapping: Mapping[str, str]) -> str:
    """What the service makes of a step's name: a mapping is of names and of all that is inside."""
    inside = [old for old in mapping if step == old or step.startswith(f"{old}/")]
    if not inside:
        return step
    old = max(inside, key=len)
    return mapping[old] and mapping[old] + step.removeprefix(old)


def _tops(steps: Sequence[str]) -> Iterator[str]:
    """Only the outermost of some steps."""
    for step in sorted(steps):
        if not any(step.startswith(f"{other}/") for other in steps):
            yield step
