"""Errors as ``application/problem+json`` (RFC 9457), whoever raised them."""

from __future__ import annotations

import logging
import traceback
from http import HTTPStatus
from typing import Any

import falcon

from service.encoding import encode
from service.environ import REQUEST_ID

PROBLEM_JSON = "application/problem+json"

logger = logging.getLogger(__name__)


class Problem(falcon.HTTPError):
    """An error answer: ``detail`` for people, ``field`` for the parameter at fault, if one is."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        field: str | None = None,
        headers: dict[str, str] | None = None,
    ):
        super().__init__(status, description=detail, headers=headers)
        self.field = field


def install(app: falcon.App[Any, Any]) -> None:
    """Makes every error of an app a problem, unforeseen exceptions and unknown paths included."""
    app.set_error_serializer(_serialize)
    app.add_error_handler(Exception, _unforeseen)


def status_line(status: HTTPStatus) -> str:
    """Code and phrase by RFC 9110, which Python before 3.13 does not have for every code."""
    return str(falcon.code_to_http_status(status.value))


def document(
    status: HTTPStatus, detail: str, field: str | None = None, request_id: str | None = None
) -> bytes:
    """The body of an error answer."""
    content: dict[str, Any] = {
        "type": "about:blank",
        "title": status_line(status)[4:],
        "status": status.value,
        "detail": detail,
    }
    if field is not None:
        content["field"] = field
    if request_id is not None:
        content["request_id"] = request_id
    return encode(content)


def _serialize(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError) -> None:
    resp.content_type = PROBLEM_JSON
    resp.data = document(
        HTTPStatus(error.status_code),
        error.description or _detail(req, error),
        getattr(error, "field", None),
        req.env.get(REQUEST_ID),
    )


def _detail(req: falcon.Request, error: falcon.HTTPError) -> str:
    if isinstance(error, falcon.HTTPNotFound):
        return "There is nothing at this path."
    if isinstance(error, falcon.HTTPMethodNotAllowed):
        return f"This path does not answer {req.method}; the header Allow lists what it answers."
    return "The request cannot be answered."


def _unforeseen(
    req: falcon.Request, resp: falcon.Response, error: Exception, params: dict[str, Any]
) -> None:
    # Neither the query string nor the error's message: both may say what a person searched for.
    logger.error(
        "%s %r (request %s) failed with %s at\n%s",
        req.method,
        req.path,
        req.env.get(REQUEST_ID),
        type(error).__name__,
        "".join(traceback.format_tb(error.__traceback__)),
    )
    raise Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The server failed; the cause is in its log.")
