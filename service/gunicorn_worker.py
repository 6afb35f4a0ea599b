"""A gunicorn worker that tells nobody what a request said that is none.

Gunicorn logs a request line that it cannot read, and sends it back as HTML; a query may be in it.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from gunicorn import util
from gunicorn.http import errors
from gunicorn.workers.gthread import ThreadWorker

from service.gate import WsgiApp
from service.problems import PROBLEM_JSON, document, status_line

_STATUSES = {
    errors.LimitRequestLine: (HTTPStatus.REQUEST_URI_TOO_LONG, "The request line is too long."),
    errors.LimitRequestHeaders: (
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        "The headers are too long or too many.",
    ),
    errors.ExpectationFailed: (
        HTTPStatus.EXPECTATION_FAILED,
        "The only expectation known is 100-continue.",
    ),
    errors.UnsupportedTransferCoding: (
        HTTPStatus.NOT_IMPLEMENTED,
        "The only transfer coding known is chunked.",
    ),
}
_NO_HTTP = (HTTPStatus.BAD_REQUEST, "The request is not HTTP/1.1 as the server reads it.")
_FAILED = (
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "The server failed; the cause is in its log.",
)


class QuietWorker(ThreadWorker):  # type: ignore[misc]
    """Answers a request that gunicorn cannot read with a problem that holds nothing of it.

    It also closes the connection where the application says so.
    """

    wsgi: WsgiApp

    def load_wsgi(self) -> None:
        """Makes the application."""
        super().load_wsgi()
        self.wsgi = _heeding_close(self.wsgi)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Logs the exception's class and answers; the connection closes after that."""
        # Once there is a request, what fails is not the client's fault.
        status, detail = _answer_to(exc) if req is None else _FAILED
        if status is HTTPStatus.INTERNAL_SERVER_ERROR:
            # Neither its message nor the request's target: both may hold a query.
            place = "".join(traceback.format_tb(exc.__traceback__))
            self.log.error("a request failed with %s at\n%s", type(exc).__name__, place)
        else:
            self.log.warning("refused what is no request: %s", type(exc).__name__)
        body = document(status, detail)
        head = (
            f"HTTP/1.1 {status_line(status)}\r\nconnection: close\r\n"
            f"content-type: {PROBLEM_JSON}\r\ncontent-length: {len(body)}\r\n"
            "cache-control: no-store\r\nx-content-type-options: nosniff\r\n\r\n"
        )
        # The client may have gone.
        with contextlib.suppress(Exception):
            util.write_nonblock(client, head.encode("ascii") + body)


def _heeding_close(app: WsgiApp) -> WsgiApp:
    # Gunicorn leaves out what an application says of the connection, and keeps it.
    def call(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if ("connection", "close") in headers:
                start_response.__self__.force_close()  # type: ignore[attr-defined]
            return start_response(status, headers, exc_info)

        return app(environ, start)

    return call


def _answer_to(error: BaseException) -> tuple[HTTPStatus, str]:
    if not isinstance(error, errors.ParseException) or isinstance(
        error, errors.ConfigurationProblem
    ):
        return _FAILED
    return _STATUSES.get(type(error), _NO_HTTP)
