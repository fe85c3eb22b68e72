"""The same jobs on Prism, which a command starts by itself or finds as a server."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from emulator import Emulator
from flink_streams import Traffic
from processes import Running, free_port, listens
from rows import check_whole, write_wide
from sklearn.linear_model import LogisticRegression
from submitted import Submission

Start = Callable[..., Submission]

pytestmark = pytest.mark.timeout(300)


def places(source: Path, output: Path) -> list[str]:
    return ["--input", str(source), "--output", str(output)]


@pytest.fixture
def endpoint(prism: Path, workdir: Path) -> Iterator[str]:
    """The address of Prism as a server."""
    port = free_port("127.0.0.1")
    flags = (f"--job_port={port}", "--serve_http=false")
    server = Running("prism", (str(prism), *flags), workdir)
    try:
        server.wait_until(lambda: listens("127.0.0.1", port), "an open port")
        yield f"localhost:{port}"
    finally:
        server.end()


def test_a_million_rows(
    prism: Path, start: Start, workdir: Path, million: Path, classifier: LogisticRegression
) -> None:
    flags = ["--runner=PrismRunner", f"--prism_location={prism}"]

    ended = start(*places(million, workdir / "out"), *flags).wait()

    assert ended.code == 0, ended.err
    check_whole(workdir / "out", million, classifier)


def test_poison_rows_through_a_server(
    endpoint: str, start: Start, workdir: Path, classifier: LogisticRegression
) -> None:
    source = write_wide(workdir / "in.parquet", 200_000, poison_every=1_000)

    flags = ["--runner=PortableRunner", f"--job_endpoint={endpoint}", "--environment_type=LOOPBACK"]
    ended = start(*places(source, workdir / "out"), *flags).wait()

    assert ended.code == 0, ended.err
    check_whole(workdir / "out", source, classifier, poison_every=1_000)


def test_a_stream_is_drained(prism: Path, emulator: Emulator, start: Start, workdir: Path) -> None:
    traffic = Traffic(emulator, start, workdir)
    try:
        stream = traffic.score("--runner=PrismRunner", f"--prism_location={prism}")
        traffic.publish()
        traffic.wait_for_more(stream, 2_000)
        published = traffic.stop_publishing()
        traffic.wait_for_all(stream, published)
        stream.signal(signal.SIGTERM)
        ended = stream.wait(60)
        assert ended.code == 0, ended.err
        traffic.read()
        traffic.account.check(published, max_duplicates=0, title="Prism")
        assert traffic.left() == 0
    finally:
        traffic.close()
