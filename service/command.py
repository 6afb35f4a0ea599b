"""``topiccore serve``: checks the artifact, then answers over HTTP until it is stopped."""

from __future__ import annotations

import argparse
from pathlib import Path

from service.settings import Settings
from topiccore import MAX_QUERY_BYTES, TopiccoreError, load
from topiccore.cli import Command
from topiccore.model import default_model


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``topiccore serve``."""
    parser.add_argument(
        "--model",
        type=Path,
        default=default_model(),
        help="artifact directory (default: %(default)s)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    parser.add_argument("--port", type=_port, default=8080, help="default: 8080")
    parser.add_argument(
        "--workers",
        type=_positive,
        metavar="N",
        help="processes (default: the CPUs available to this process)",
    )
    parser.add_argument(
        "--max-query-bytes",
        type=_query_bytes,
        default=Settings().max_query_bytes,
        metavar="N",
        help=f"refuse longer queries (default: {Settings().max_query_bytes})",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serves; returns 0 after SIGTERM or SIGINT.

    Raises ``ArtifactError`` for an artifact that does not load, and ``AddressError``.
    """
    try:
        import falcon  # noqa: F401

        from service import server
    except ModuleNotFoundError as error:
        if error.name not in ("falcon", "granian"):
            raise
        raise TopiccoreError(
            f"{error.name} is not installed; pip install 'topiccore[serve]'"
        ) from error
    # Told here, a bad artifact is one clear message instead of one for every worker.
    load(arguments.model)
    server.serve(
        arguments.model,
        arguments.host,
        arguments.port,
        arguments.workers or server.available_cpus(),
        Settings(arguments.max_query_bytes),
    )
    return 0


def _port(text: str) -> int:
    return _between(text, 1, 65535)


def _positive(text: str) -> int:
    return _between(text, 1, 1024)


def _query_bytes(text: str) -> int:
    return _between(text, 1, MAX_QUERY_BYTES)


def _between(text: str, low: int, high: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low} to {high}")
    return value


COMMAND = Command("serve", "Answer over HTTP which topics queries are about.", configure, run)
