#!/usr/bin/env python3
"""asyncio and uvloop, behind the protocol of the crate `peer` (its documentation has the rules).

Variants: the ordinary one is asyncio's own loop with streams, `uvloop` the same on uvloop, and
`uvloop-protocol` serves echo with a protocol instead of streams, which is what is fast there.
A workload of its own is a module beside this file: `peer_NAME.py` with `run(job)`.
"""

import argparse
import asyncio
import ctypes
import importlib
import json
import resource
import signal
import socket
import sys
import time

BACKLOG = 4096
BUFFER_BYTES = 16 << 10
PR_SET_PDEATHSIG = 1


class Unsupported(Exception):
    """The contender cannot do it; the text is the reason."""


class Meter:
    """Measures this process between its begin and its end, like `peer::Meter`."""

    def __init__(self):
        self.cpu = self.cpu_ns()
        self.begin = time.perf_counter_ns()

    @staticmethod
    def cpu_ns():
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return int((usage.ru_utime + usage.ru_stime) * 1e9)

    def end(self, operations, **more):
        """The figures, as the line of JSON that is printed."""
        wall = time.perf_counter_ns() - self.begin
        figures = {
            "operations": operations,
            "wall_ns": wall,
            "cpu_ns": self.cpu_ns() - self.cpu,
            "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
        if more:
            figures["more"] = more
        return json.dumps(figures)


def new_loop(variant):
    """The event loop of a variant."""
    if not variant:
        return asyncio.new_event_loop()
    if variant not in ("uvloop", "uvloop-protocol"):
        raise Unsupported(f"no variant `{variant}`")
    try:
        import uvloop
    except ImportError:
        raise Unsupported("uvloop is not installed") from None
    return uvloop.new_event_loop()


def listen(port):
    """A listener whose accepted sockets inherit TCP_NODELAY."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind(("127.0.0.1", port))
    return listener


async def echo_stream(reader, writer):
    try:
        while data := await reader.read(BUFFER_BYTES):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


class EchoProtocol(asyncio.Protocol):
    """Stops reading while the other side does not read."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


async def echo(options):
    if options.cores > 1:
        raise Unsupported("its server here is one thread")
    if options.work:
        raise Unsupported("its server here only echoes")
    listener = listen(options.port)
    if options.variant == "uvloop-protocol":
        loop = asyncio.get_running_loop()
        server = await loop.create_server(EchoProtocol, sock=listener, backlog=BACKLOG)
    else:
        server = await asyncio.start_server(echo_stream, sock=listener, backlog=BACKLOG)
    print("ready", listener.getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--variant", default="")
    workloads = parser.add_subparsers(dest="workload", required=True)
    server = workloads.add_parser("echo")
    server.add_argument("--port", type=int, default=0)
    server.add_argument("--cores", type=int, default=1)
    server.add_argument("--work", type=int, default=0)
    server = workloads.add_parser("serve-files")
    server.add_argument("dir")
    server.add_argument("--port", type=int, default=0)
    for name in ("files", "tasks", "download"):
        job = workloads.add_parser(name)
        job.add_argument("case")
        job.add_argument("--dir", default="")
        job.add_argument("--origin", default="")
        job.add_argument("--scale", type=float, default=1.0)
    return parser.parse_args()


def job(options):
    """The answer of a job's module, or that there is none."""
    try:
        module = importlib.import_module(f"peer_{options.workload}")
    except ModuleNotFoundError as missing:
        reason = f"no {options.workload} here"
        if missing.name != f"peer_{options.workload}":
            reason = f"{missing.name} is not installed"
        raise Unsupported(reason) from None
    return module.run(options)


def main():
    options = arguments()
    try:
        if options.workload == "echo":
            new_loop(options.variant).run_until_complete(echo(options))
        elif options.workload == "serve-files":
            raise Unsupported("no file server")
        else:
            print(job(options))
    except Unsupported as reason:
        print("unsupported", reason)
    return 0


if __name__ == "__main__":
    # The modules beside this one import it by its name.
    sys.modules["asyncio_peer"] = sys.modules["__main__"]
    sys.exit(main())
