"""Beam's pool of Python workers, listening on one address only.

    python worker_pool.py 127.0.0.2 50000

`apache_beam.runners.worker.worker_pool_main` listens on all addresses of a machine, so that one
port has one pool. The pools of a cluster on one machine have one port, and an address each.
"""

import signal
import sys
import threading

import grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from apache_beam.utils import thread_pool_executor


def main(address: str, port: int) -> None:
    """Serves until SIGTERM. Workers are processes, as in Beam's own program."""
    server = grpc.server(
        thread_pool_executor.shared_unbounded_instance(),
        options=[
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.http2.max_ping_strikes", 0),
            ("grpc.so_reuseport", 0),  # a second pool is to fail, not to share the port
        ],
    )
    pool = BeamFnExternalWorkerPoolServicer(use_process=True, data_buffer_time_limit_ms=-1)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    server.add_insecure_port(f"{address}:{port}")
    server.start()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    ended.wait()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
