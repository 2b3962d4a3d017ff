"""Holds a running service to its own OpenAPI document by schemathesis.

    check.py --url http://127.0.0.1:8100 --ticket TICKET
    check.py --socket /run/fep/identity/identity.sock --ticket TICKET --exclude-path /v1/logout

Requests are generated from the document, good ones and bad ones; every answer must be one that the document describes, no
answer is a fault (5xx), what the document allows is not refused as malformed, what it forbids is, and a route that needs a
ticket refuses without one. The exit code is 0 when nothing was found.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path


def copy(source, sink):
    try:
        while octets := source.recv(65536):
            sink.sendall(octets)
    except OSError:
        pass  # One side has ended: so does the other.
    finally:
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # It has ended already.


def forward(path):
    """Takes connections on a loopback port, and passes each on to the Unix socket; the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        while True:
            client, _ = listener.accept()
            service = socket.socket(socket.AF_UNIX)
            service.connect(path)
            for pair in ((client, service), (service, client)):
                threading.Thread(target=copy, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--url", help="address of the service, without a path")
    where.add_argument("--socket", help="Unix socket of the service")
    parser.add_argument("--ticket", default=os.environ.get("FEP_TICKET", ""), help="ticket of the caller [FEP_TICKET]")
    parser.add_argument("--exclude-path", action="append", default=[], help="a path that is not called")
    parser.add_argument("--exclude-check", action="append", default=[], help="a check of schemathesis that is not made")
    parser.add_argument("--max-time", type=int, default=0, help="seconds for the whole run; 0: as long as it takes, always the same requests")
    parser.add_argument("--max-examples", type=int, default=20, help="generated requests for each route and phase")
    parser.add_argument("--seed", type=int, default=20261130, help="of the generated requests")
    args = parser.parse_args()

    program = Path(sys.executable).parent / "schemathesis"
    headers = [f"Authorization: Bearer {args.ticket}"] if args.ticket else []
    url = args.url
    if args.socket:
        url = f"http://127.0.0.1:{forward(args.socket)}"
        headers.append("Host: localhost")
    command = [program, "run", f"{url}/openapi.json", "--no-color", "--phases", "examples,coverage,fuzzing"]
    command += ["--max-examples", args.max_examples, "--seed", args.seed]
    if args.max_time:
        command += ["--max-time", args.max_time]
    command += ["--request-timeout", 120, "--generation-database", "none", "--warnings", "off", "--continue-on-failure"]
    for header in headers:
        command += ["--header", header]
    for path in args.exclude_path:
        command += ["--exclude-path", path]
    if args.exclude_check:
        command += ["--exclude-checks", ",".join(args.exclude_check)]
    # Its caches are of no use afterwards.
    with tempfile.TemporaryDirectory() as place:
        return subprocess.run([str(word) for word in command], cwd=place).returncode


if __name__ == "__main__":
    sys.exit(main())
