"""A client of the web service; needs ``pip install 'topiccore[client]'``.

>>> from topiccore.client import Client
>>> with Client("http://127.0.0.1:8080") as client:
...     client.topics("used honda civic dallas")
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

import urllib3

from topiccore import client_answers, client_deadline
from topiccore.client_answers import AnswerError, Topic, Topics
from topiccore.errors import TopiccoreError

__all__ = ["Client", "ServiceError", "Topic", "Topics", "UnavailableError"]

RETRIED = (429, 502, 503, 504)
"""The answers after which a request is made again: the server is busy or is being replaced."""

LONGEST_PAUSE = 5.0
"""Seconds between two attempts, at most, whatever ``Retry-After`` says."""


_Found = TypeVar("_Found")


class ServiceError(TopiccoreError):
    """The service refused a request: ``status`` and, of its problem details, what it tells.

    Also an answer that is not the service's, whatever its status: ``detail`` names the place in it.
    """

    def __init__(self, status: int, detail: str, field: str | None, request_id: str | None):
        super().__init__(f"{status}: {detail}" + (f" ({field})" if field else ""))
        self.status = status
        self.detail = detail
        self.field = field
        self.request_id = request_id


class UnavailableError(TopiccoreError):
    """The service did not answer in time, or there was no connection to it."""


class Client:
    """Asks a service over connections that it keeps; threads may share it.

    Args:
        url: where the service is, such as ``http://127.0.0.1:8080``; a path is put before its own.
        token: a bearer token, if the service wants one.
        timeout: seconds for each attempt, from connecting to the last byte of the answer, however
            the answer trickles in (looking up the host's name comes on top).
        retries: how often a request is made again after a failed connection, no answer in time, or
            one of ``RETRIED``.  The pause doubles each time, with jitter; ``Retry-After`` counts.
            Every request may be repeated: none changes anything.
        connections: how many are kept.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout: float = 1.0,
        retries: int = 3,
        connections: int = 10,
    ):
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not the URL of a service")
        self._path = parts.path.rstrip("/")
        self._pool = urllib3.connectionpool.connection_from_url(
            f"{parts.scheme}://{parts.netloc}",
            maxsize=connections,
            block=False,
            timeout=urllib3.Timeout(total=timeout),
            retries=_Retry(
                total=retries,
                status_forcelist=RETRIED,
                allowed_methods=None,
                redirect=0,
                backoff_factor=0.05,
                backoff_jitter=0.05,
                backoff_max=LONGEST_PAUSE,
                respect_retry_after_header=True,
                raise_on_status=False,
            ),
        )
        self._pool.ConnectionCls = (
            client_deadline.HTTPSConnection
            if parts.scheme == "https"
            else client_deadline.HTTPConnection
        )
        self._headers = {"Accept": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"

    def topics(
        self,
        query: str,
        *,
        min_score: float | None = None,
        max_labels: int | None = None,
        topics_only: bool = False,
        explain: bool = False,
        request_id: str | None = None,
        traceparent: str | None = None,
    ) -> Topics:
        """The labels a query is about, best first.

        Args:
            query: text.
            min_score: the labels of at least this score, instead of those of the thresholds.
            max_labels: only so many of the best.
            topics_only: leave out the subtopics.
            explain: tell for each label why it has its score.
            request_id: the id by which the service logs the request.
            traceparent: the caller's span (W3C Trace Context), of which the service's is to be a
                part; without a ``request_id`` the request has its trace's id.

        Raises ``ServiceError`` and ``UnavailableError``.
        """
        content = {"query": query} | _options(min_score, max_labels, topics_only, explain)
        return self._ask("POST", "/v1/topics", client_answers.one, content, request_id, traceparent)

    def topics_batch(
        self,
        queries: Sequence[str],
        *,
        min_score: float | None = None,
        max_labels: int | None = None,
        topics_only: bool = False,
        explain: bool = False,
        request_id: str | None = None,
        traceparent: str | None = None,
    ) -> list[Topics]:
        """``topics`` for each query, in order, with one request; the service limits their number.

        Raises ``ServiceError``, whose ``field`` names the query at fault, and ``UnavailableError``.
        """
        if isinstance(queries, str):
            raise TypeError("queries is one query; give a list of queries, or use topics")
        content = {"queries": list(queries)} | _options(min_score, max_labels, topics_only, explain)

        def read(answer: dict[str, Any], told: str) -> list[Topics]:
            return client_answers.many(answer, len(queries), told)

        return self._ask("POST", "/v1/topics:batch", read, content, request_id, traceparent)

    def model(self) -> dict[str, Any]:
        """Which model answers and how good it was found to be; raises as ``topics``."""
        return self._ask("GET", "/v1/model", _with("id", str))

    def taxonomy(self) -> dict[str, Any]:
        """Every topic with its subtopics; raises as ``topics``."""
        return self._ask("GET", "/v1/taxonomy", _with("topics", list))

    def ready(self) -> bool:
        """Whether the service answers queries now; asks once."""
        try:
            return self._pool.request("GET", f"{self._path}/readyz", retries=False).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def close(self) -> None:
        """Closes the connections that are kept."""
        self._pool.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(
        self,
        method: str,
        path: str,
        read: Callable[[dict[str, Any], str], _Found],
        content: Any = None,
        request_id: str | None = None,
        traceparent: str | None = None,
    ) -> _Found:
        # ``read`` makes the result of the answer's JSON and the id of the request.
        headers = dict(self._headers)
        body = None
        if content is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(content).encode()
        if request_id is not None:
            headers["X-Request-Id"] = request_id
        if traceparent is not None:
            headers["traceparent"] = traceparent
        try:
            response = self._pool.request(method, self._path + path, body=body, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise UnavailableError(f"{self._pool.host}:{self._pool.port}: {error}") from error
        told = response.headers.get("X-Request-Id", "")
        try:
            answer = json.loads(response.data)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise ServiceError(response.status, f"{_STRANGE}.", None, told or None)
        if response.status != 200:
            detail, field = answer.get("detail"), answer.get("field")
            raise ServiceError(
                response.status,
                detail if isinstance(detail, str) else f"{_STRANGE}.",
                field if isinstance(field, str) else None,
                told or None,
            )
        try:
            return read(answer, told)
        except AnswerError as error:
            detail = f"{_STRANGE}: {error}."
            raise ServiceError(response.status, detail, None, told or None) from error


_STRANGE = "The answer is not that of a topiccore service"


class _Retry(urllib3.Retry):
    def get_retry_after(self, response: urllib3.BaseHTTPResponse) -> float | None:
        after = super().get_retry_after(response)
        return None if after is None else min(after, LONGEST_PAUSE)


def _options(
    min_score: float | None, max_labels: int | None, topics_only: bool, explain: bool
) -> dict[str, Any]:
    given = {
        "min_score": min_score,
        "max_labels": max_labels,
        "topics_only": topics_only or None,
        "explain": explain or None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _with(name: str, kind: type) -> Callable[[dict[str, Any], str], dict[str, Any]]:
    # Takes answers as they are that have this member.
    def read(answer: dict[str, Any], _: str) -> dict[str, Any]:
        client_answers.member(answer, name, kind)
        return answer

    return read
