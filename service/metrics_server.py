"""A small HTTP server for the metrics: a few threads, and none for long."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from service.slots import Slots

THREADS = 16
"""Connections that are answered at a time; more are closed."""
SECONDS = 10.0
"""How long a connection may last, from its beginning to the end of its answer."""
PATH = "/metrics"

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

logger = logging.getLogger(__name__)


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Logs nothing."""


class MetricsServer(ThreadingMixIn, WSGIServer):
    """Answers each connection in a thread of its own, ``THREADS`` at a time."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, app: WsgiApp):
        info = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        self.address_family = info[0]
        self._slots = Slots(THREADS)
        self._open: dict[socket.socket, float] = {}
        super().__init__((str(info[4][0]), port), _Handler)
        self.set_app(_only_metrics(app))

    def start(self) -> None:
        """Answers from now on, until ``shutdown``, from threads of this process."""
        # A process that is forked must keep neither the port nor a connection.
        os.register_at_fork(after_in_child=self._close_all)
        threading.Thread(target=self.serve_forever, name="metrics", daemon=True).start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answers a connection, or closes it where there is no thread for it."""
        if not self._slots.take():
            self.shutdown_request(request)
            return
        self._open[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._end(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answers a connection, then closes it."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._end(request)

    def service_actions(self) -> None:
        """Ends the connections that last too long; called twice a second and more."""
        latest = time.monotonic() - SECONDS
        for connection, began in list(self._open.items()):
            if began < latest:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Logs what is not the client's doing."""
        if not isinstance(sys.exception(), OSError):
            logger.exception("the metrics failed")

    def _end(self, request: socket.socket) -> None:
        if self._open.pop(request, None) is not None:
            self._slots.give()

    def _close_all(self) -> None:
        for one in (self.socket, *self._open):
            one.close()


def _only_metrics(app: WsgiApp) -> WsgiApp:
    def call(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == PATH:
            return app(environ, start_response)
        body = f"The metrics are at {PATH}.\n".encode()
        kind = ("Content-Type", "text/plain; charset=utf-8")
        start_response("404 Not Found", [kind, ("Content-Length", str(len(body)))])
        return [body]

    return call
