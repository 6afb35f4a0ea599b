"""Runs the application in gunicorn, with its threads or with meinheld, behind a proxy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from service import logs
from service.gate import WsgiApp
from service.main_process import main_process
from service.options import ServerOptions, free_address
from service.settings import Settings
from service.shared import Control

THREADS = 64
"""Requests that a worker with threads can have under way."""
STOP_SECONDS = 10
"""What a worker gets to finish its requests before it is killed."""
SILENT_SECONDS = 30
"""How long a worker may not respond to the main process before it is killed."""
KEEPALIVE_SECONDS = 75
"""How long an idle connection stays open: longer than proxies keep it."""


def serve(model: Path, options: ServerOptions, settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT; SIGHUP makes the workers look for a new artifact.

    Raises ``AddressError`` and ``MetricsError`` before any worker starts, and ``SystemExit``, with
    code 3 when workers cannot start.
    """
    address = free_address(options.host, options.port)
    settings = within_threads(settings)
    with main_process(model, options, settings) as control:
        _Arbiter(_Application(address, options, settings), control).run()


def within_threads(settings: Settings) -> Settings:
    """The settings with bounds that leave threads to refuse what is beyond them."""
    return replace(
        settings,
        max_in_flight=min(settings.max_in_flight, THREADS * 3 // 4),
        max_bodies=min(settings.max_bodies, THREADS // 2),
    )


def configuration(address: str, options: ServerOptions, settings: Settings) -> dict[str, Any]:
    """Gunicorn's settings; ``address`` is a numeric IP address."""
    host = f"[{address}]" if ":" in address else address
    worker = (
        "service.meinheld_worker.MeinheldWorker"
        if options.server == "meinheld"
        else "service.gunicorn_worker.QuietWorker"
    )
    return {
        "bind": [f"{host}:{options.port}"],
        "workers": options.workers,
        "worker_class": worker,
        "threads": 1 if options.server == "meinheld" else THREADS,
        "worker_connections": options.max_connections,
        "keepalive": KEEPALIVE_SECONDS,
        "timeout": SILENT_SECONDS,
        "graceful_timeout": STOP_SECONDS,
        "limit_request_line": 8190,
        # The parser in C takes a bare LF for the end of a line.
        "http_parser": "python",
        # It would be a socket at a fixed place, by which others could stop the server.
        "control_socket_disable": True,
        "logconfig_dict": logs.configuration(settings.log_format),
        # With a preloaded application all workers would share the threads and locks of one.
        "preload_app": False,
    }


class _Application(BaseApplication):  # type: ignore[misc]
    def __init__(self, address: str, options: ServerOptions, settings: Settings):
        self._configuration = configuration(address, options, settings)
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._configuration.items():
            self.cfg.set(name, value)

    def load(self) -> WsgiApp:
        from service.app import get_app

        return get_app()


class _Arbiter(Arbiter):  # type: ignore[misc]
    def __init__(self, app: _Application, control: Control):
        super().__init__(app)
        self._control = control

    def handle_hup(self) -> None:
        """Calls the workers, where gunicorn would start new ones and cut kept connections."""
        self._control.call()
