"""The main job from end to end: train, measure, score, serve, ask over HTTP.

    python tools/demo.py [--out runs/demo]

Everything goes through the command ``topiccore``, as a user would do it; each command is shown.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shlex
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlencode

from topiccore.model import PRETRAINED

QUERIES = (
    "used honda civic dallas",
    "symptoms of strep throat",
    "cheap flights to cancun",
    "chicken enchilada recipe",
    "free online chess",
)
ASKED = "used honda civic dallas"
REQUESTS = 500
START_SECONDS = 30


def main() -> int:
    """Returns 0, or the exit code of the command that failed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), metavar="DIR")
    folder = parser.parse_args().out
    try:
        if PRETRAINED.exists():
            show(PRETRAINED)
        step("Train a student on labels and annotations, export it, measure it on test queries")
        topiccore("train", "--out", str(folder))
        print(f"the report: {folder / 'report.html'}")
        if not PRETRAINED.exists():
            show(folder / "artifact")
    except subprocess.CalledProcessError as error:
        return error.returncode
    return 0


def show(model: Path) -> None:
    """Scores with a model and serves it."""
    step("Score a handful of queries")
    topiccore("score", "--model", str(model), *QUERIES)
    step("Serve it and ask over HTTP")
    ask(str(model))


def step(title: str) -> None:
    """Prints a heading."""
    print(f"\n== {title}", flush=True)


def command(*arguments: str) -> list[str]:
    """The command line of ``topiccore`` in this Python."""
    return [sys.executable, "-m", "topiccore.cli", *arguments]


def topiccore(*arguments: str) -> None:
    """Shows and runs a command; raises ``CalledProcessError`` when it fails."""
    print(f"$ topiccore {shlex.join(arguments)}", flush=True)
    subprocess.run(command(*arguments), check=True)


def ask(model: str) -> None:
    """Starts the service, asks it one query, then many on one connection for the latency."""
    port = free_port()
    arguments = ["serve", "--model", model, "--port", str(port)]
    print(f"$ topiccore {shlex.join(arguments)} &", flush=True)
    server = subprocess.Popen(command(*arguments))
    try:
        wait_until_ready(server, port)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        path = "/v1/topics?" + urlencode({"q": ASKED})
        print(f"$ curl 'http://127.0.0.1:{port}{path}'")
        print(json.dumps(json.loads(get(connection, path)), indent=2))
        seconds = []
        for _ in range(REQUESTS):
            start = time.perf_counter()
            get(connection, path)
            seconds.append(time.perf_counter() - start)
        seconds.sort()
        print(
            f"{REQUESTS} requests on one connection: "
            f"median {statistics.median(seconds) * 1e3:.2f} ms, "
            f"99th percentile {seconds[int(REQUESTS * 0.99)] * 1e3:.2f} ms"
        )
    finally:
        server.terminate()
        server.wait(timeout=START_SECONDS)


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(server: subprocess.Popen[bytes], port: int) -> None:
    """Returns when ``/readyz`` says so; raises ``CalledProcessError`` when the service ended."""
    end = time.monotonic() + START_SECONDS
    while True:
        if server.poll() is not None:
            raise subprocess.CalledProcessError(server.returncode or 1, server.args)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            get(connection, "/readyz")
            return
        except OSError:
            if time.monotonic() > end:
                raise SystemExit(f"the service was not ready in {START_SECONDS} s") from None
            time.sleep(0.05)
        finally:
            connection.close()


def get(connection: http.client.HTTPConnection, path: str) -> bytes:
    """The body of a 200; raises ``OSError`` for any other answer."""
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise OSError(f"{path}: {response.status} {response.reason}: {body[:200]!r}")
    return body


if __name__ == "__main__":
    sys.exit(main())
