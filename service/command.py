"""``topiccore serve``: checks the artifact, then answers over HTTP until it is stopped."""

from __future__ import annotations

import argparse
import os
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from registry import layout
from service.location import find_artifact
from service.options import SERVERS, ServerOptions, available_cpus
from service.settings import Settings, parse, whole_number
from topiccore import TopiccoreError, load
from topiccore.cli import Command
from topiccore.model import default_model

_SERVE = "pip install 'topiccore[serve]'"
PACKAGES = {
    **dict.fromkeys(("falcon", "granian", "msgspec", "prometheus_client"), _SERVE),
    "gunicorn": "pip install 'topiccore[gunicorn]'",
    "meinheld": "pip install 'topiccore[meinheld]', then pip install --no-deps meinheld==1.0.2",
}
"""How to install what the service needs."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``topiccore serve``."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--registry",
        type=Path,
        metavar="DIR",
        help="serve what a channel of this registry has, and follow it: implies --watch",
    )
    parser.add_argument(
        "--channel",
        default=layout.CURRENT,
        metavar="NAME",
        help=f"channel of the registry (default: {layout.CURRENT})",
    )
    source.add_argument(
        "--model",
        type=Path,
        default=default_model(),
        help="artifact directory, link to one, or registry folder with a link or file 'current' "
        "(default: %(default)s)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine only")
    parser.add_argument("--port", type=_whole(1, 65535), default=8080, help="default: 8080")
    parser.add_argument(
        "--workers",
        type=_whole(1, 1024),
        metavar="N",
        help="processes (default: the CPUs available to this process)",
    )
    parser.add_argument(
        "--max-connections",
        type=_whole(1, 1_000_000),
        default=1024,
        metavar="N",
        help="open connections that each worker takes on (default: 1024)",
    )
    parser.add_argument(
        "--metrics-port",
        type=_whole(1, 65535),
        metavar="N",
        help="give metrics for Prometheus at this port (default: no metrics)",
    )
    parser.add_argument(
        "--metrics-host", default="127.0.0.1", metavar="HOST", help="default: 127.0.0.1"
    )
    parser.add_argument(
        "--server",
        choices=SERVERS,
        default="granian",
        help="what runs the application: granian; gunicorn, with threads; or gunicorn with "
        "meinheld, both to stand behind a proxy (default: granian)",
    )
    for one in fields(Settings):
        option = "--" + one.name.replace("_", "-")
        text = one.metadata["help"]
        if isinstance(one.default, bool):
            parser.add_argument(option, action="store_true", help=text)
            continue
        parser.add_argument(
            option,
            type=partial(_setting, one.name),
            default=one.default,
            metavar="N" if "range" in one.metadata else "VALUE",
            help=text if one.default is None else f"{text} (default: {one.default})",
        )


def run(arguments: argparse.Namespace) -> int:
    """Serves; returns 0 after SIGTERM or SIGINT.

    Raises ``ArtifactError`` for an artifact that does not load, ``TokensError``, ``AddressError``,
    and ``TopiccoreError`` for what is not installed.
    """
    try:
        # The workers' imports are tried here, where one clear message can tell of them.
        from service import traces, worker  # noqa: F401
        from service.tokens import Tokens

        if arguments.server == "granian":
            from service.server import serve
        else:
            from service.gunicorn_server import serve
        if arguments.server == "meinheld":
            import meinheld  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name not in PACKAGES:
            raise
        raise TopiccoreError(f"{error.name} is not installed; {PACKAGES[error.name]}") from error
    if arguments.registry is not None:
        arguments.model = _channel(arguments.registry, arguments.channel)
        arguments.watch = True
    # Told here, a bad artifact is one clear message instead of one for every worker.
    load(find_artifact(arguments.model))
    if arguments.tokens is not None:
        Tokens(arguments.tokens)
    if traces.wanted(os.environ):
        traces.check()
    serve(
        arguments.model,
        ServerOptions(
            host=arguments.host,
            port=arguments.port,
            workers=arguments.workers or available_cpus(),
            max_connections=arguments.max_connections,
            metrics_host=arguments.metrics_host,
            metrics_port=arguments.metrics_port,
            server=arguments.server,
        ),
        Settings(**{one.name: getattr(arguments, one.name) for one in fields(Settings)}),
    )
    return 0


def _channel(registry: Path, name: str) -> Path:
    link = layout.channel_link(registry, name)
    if not layout.marker(registry).exists():
        raise TopiccoreError(f"{registry}: no registry, {layout.marker(registry).name} is missing")
    if not layout.is_channel_name(name) or not link.is_symlink():
        raise TopiccoreError(
            f"{registry}: there is no channel {name!r}; 'topiccore registry promote' makes one"
        )
    return link


def _setting(name: str, text: str) -> Any:
    return _told(text, partial(parse, name))


def _whole(low: int, high: int) -> Any:
    return lambda text: _told(text, partial(whole_number, low=low, high=high))


def _told(text: str, read: Any) -> Any:
    try:
        return read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not {error}") from error


COMMAND = Command("serve", "Answer over HTTP which topics queries are about.", configure, run)
