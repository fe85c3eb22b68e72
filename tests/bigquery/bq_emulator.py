"""A BigQuery emulator on ports of this machine, and what tests do with its tables.

    with BigQueryEmulator() as bq:
        dataset = bq.dataset()
        bq.load(f"{bq.project}.{dataset}.orders", pa.table({"x": [1, 2]}))

It keeps everything in memory: after `restart` it is empty. It is known to hang when a query runs
beside appends to a default stream, so a thread watches over it: an emulator that does not answer
any more is killed, and calls fail at once instead of one after the other when their time is up.

    python tests/bigquery/bq_emulator.py    # runs one until Ctrl-C
"""

import io
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where this is run as a program

import pyarrow as pa
import pyarrow.parquet as pq
from bq_parts import EMULATOR, home_of, python_of
from cached_parts import ensure
from emulator import free_port
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

from scoreline.transforms.bigquery.column_types import to_bigquery

PROJECT = "scoreline-tests"

_READY_SECS = 60.0  # it takes 4 s on an idle machine
_CALL_SECS = 30.0
_WATCH_SECS = 1.0
_SILENT_SECS = 15.0  # a busy machine may keep it from answering for a while
_MAX_BYTES = 600 * 2**20  # three times what it has at its start
_NUMBERS = itertools.count()


def require_bigquery() -> None:
    """Installs the emulator; skips a test where that fails, or fails it where it is required."""
    import pytest  # a benchmark does without

    try:
        ensure(EMULATOR)
    except RuntimeError as error:
        reason = f"{EMULATOR.missing()}\n{error}"
        if os.environ.get("SCORELINE_REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


class BigQueryEmulator:
    """A process of the emulator, on two ports for all its starts."""

    project = PROJECT

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="bigquery-"))
        self._rest_port, self._grpc_port = free_port(), free_port()
        self.rest_url = f"http://127.0.0.1:{self._rest_port}"
        self.storage_address = f"127.0.0.1:{self._grpc_port}"
        self.client = bigquery.Client(
            project=PROJECT,
            credentials=AnonymousCredentials(),
            client_options=ClientOptions(api_endpoint=self.rest_url),
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = threading.Event()
        self._watch: threading.Thread | None = None
        self.hung = False

    def __enter__(self) -> "BigQueryEmulator":
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def variables(self) -> dict[str, str]:
        """What a process that is to find it has in its environment."""
        return {
            "BIGQUERY_EMULATOR_HOST": self.rest_url,
            "BIGQUERY_STORAGE_EMULATOR_HOST": self.storage_address,
        }

    @property
    def pid(self) -> int:
        """The process of the running emulator."""
        assert self._process is not None, "the emulator was not started"
        return self._process.pid

    def start(self) -> None:
        """Starts it, and waits until it answers.

        Raises:
            RuntimeError: it ended, or did not answer in time.
        """
        part = ensure(EMULATOR)
        words = [str(python_of(part)), "-m", "bqemulator", "start", "--ephemeral"]
        words += ["--rest-port", str(self._rest_port), "--grpc-port", str(self._grpc_port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self._folder,
                env=os.environ | {"HOME": str(home_of(part))},
            )
        self._wait_until_ready()
        self.hung = False
        self._stopped.clear()
        self._watch = threading.Thread(target=self._watch_over, daemon=True)
        self._watch.start()

    def restart(self) -> None:
        """Ends it, and starts an empty one on the same ports."""
        self.kill()
        self.start()

    def refresh(self) -> None:
        """Restarts it if it hung, or has grown: it keeps all that tests ever wrote."""
        if self.hung or self._resident_bytes() > _MAX_BYTES:
            self.restart()

    def kill(self) -> None:
        """Ends it without a warning."""
        self._stopped.set()
        if self._watch is not None:
            self._watch.join()
        process, self._process = self._process, None
        if process is not None:
            _kill_group(process.pid)
            process.wait(10)

    def close(self) -> None:
        """Ends it, if it runs."""
        self.kill()
        self.client.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def dataset(self) -> str:
        """Makes a dataset, and gives its name."""
        name = f"tests_{os.getpid()}_{next(_NUMBERS)}"
        self.client.create_dataset(f"{PROJECT}.{name}", retry=None, timeout=_CALL_SECS)
        return name

    def load(self, table: str, rows: pa.Table) -> None:
        """Makes a table of rows, in a load job of a Parquet file, which needs it to be there."""
        made = bigquery.Table(table, schema=to_bigquery(rows.schema))
        self.client.create_table(made, retry=None, timeout=_CALL_SECS)
        file = io.BytesIO()
        pq.write_table(rows, file)
        file.seek(0)
        config = bigquery.LoadJobConfig(source_format=bigquery.SourceFormat.PARQUET)
        config.parquet_options = bigquery.ParquetOptions()
        config.parquet_options.enable_list_inference = True
        job = self.client.load_table_from_file(file, table, job_config=config, timeout=_CALL_SECS)
        job.result(timeout=_CALL_SECS)

    def rows(self, table: str) -> pa.Table:
        """All rows of a table, over the REST interface; none may be appended meanwhile."""
        found = self.client.list_rows(table, timeout=_CALL_SECS, retry=None)
        return found.to_arrow(create_bqstorage_client=False)

    def query(self, statement: str) -> list[dict[str, object]]:
        """Runs a statement, and gives its rows; none may be appended meanwhile."""
        job = self.client.query(statement, timeout=_CALL_SECS, retry=None, job_retry=None)
        return [dict(row) for row in job.result(timeout=_CALL_SECS)]

    def widen(self, table: object, column: str) -> None:
        """Adds a column to what is stored: the emulator does it for a statement, which in turn
        leaves out the metadata, but not for an update of the metadata, as the service does.
        """
        self.query(f"ALTER TABLE `{table}` ADD COLUMN {column}")

    def tables(self, dataset: str) -> list[str]:
        """The names of the tables of a dataset."""
        listed = self.client.list_tables(f"{PROJECT}.{dataset}", timeout=_CALL_SECS, retry=None)
        return sorted(table.table_id for table in listed)

    @property
    def _log(self) -> Path:
        return self._folder / "emulator.log"

    def _resident_bytes(self) -> int:
        words = ["ps", "-o", "rss=", "-p", str(self.pid)]
        return int(subprocess.run(words, capture_output=True, text=True).stdout or 0) * 1024

    def log_tail(self) -> str:
        """The end of what it said."""
        return self._log.read_text(errors="replace")[-2_000:]

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _READY_SECS
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._answers("readyz", 1.0):
                return
            time.sleep(0.1)
        code = self._process.poll()
        ended = "did not answer" if code is None else f"ended with code {code}"
        raise RuntimeError(f"the BigQuery emulator {ended}. Its log says:\n{self.log_tail()}")

    def _watch_over(self) -> None:
        pid, heard = self.pid, time.monotonic()
        while not self._stopped.wait(_WATCH_SECS):
            if self._answers("healthz", _WATCH_SECS * 2):
                heard = time.monotonic()
            elif time.monotonic() - heard > _SILENT_SECS:
                self.hung = True
                _kill_group(pid)
                return

    def _answers(self, path: str, secs: float) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"{self.rest_url}/{path}", timeout=secs):
                return True
        except OSError:
            return False


def bigquery_fixture() -> Iterator[BigQueryEmulator]:
    """A running emulator, which scoreline finds: the body of a fixture of a module."""
    require_bigquery()
    with BigQueryEmulator() as emulator:
        yield from found_by_scoreline(emulator)


def found_by_scoreline(emulator: BigQueryEmulator) -> Iterator[BigQueryEmulator]:
    """An emulator while the variables of this process name it."""
    import pytest

    with pytest.MonkeyPatch.context() as patch:
        for name, value in emulator.variables.items():
            patch.setenv(name, value)
        yield emulator
        assert not emulator.hung, "the emulator hung, and was killed"


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def main() -> None:
    """Runs an emulator until Ctrl-C."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with BigQueryEmulator() as bq:
        for name, value in bq.variables.items():
            print(f"export {name}={value}", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
