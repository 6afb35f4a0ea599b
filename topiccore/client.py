"""A client of the web service; needs ``pip install 'topiccore[client]'``.

>>> from topiccore.client import Client
>>> with Client("http://127.0.0.1:8080") as client:
...     client.topics("used honda civic dallas")
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import urllib3

from topiccore.errors import TopiccoreError

RETRIED = (429, 502, 503, 504)
"""The answers after which a request is made again: the server is busy or is being replaced."""

LONGEST_PAUSE = 5.0
"""Seconds between two attempts, at most, whatever ``Retry-After`` says."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A label that a query is about; ``score`` is a probability."""

    code: str
    name: str
    score: float
    explanation: Mapping[str, Any] | None = None
    """Where it was asked for: logit, threshold, bias, shares and context, as the service tells."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The answer to one query, best first."""

    topics: tuple[Topic, ...]
    truncated: bool
    """Only the first tokens of the query were scored."""
    model: str
    """The id of the artifact that gave the answer."""
    request_id: str


class ServiceError(TopiccoreError):
    """The service refused a request: ``status`` and, of its problem details, what it tells."""

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
        timeout: seconds for connecting, and as many for the answer of each attempt.
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
            timeout=urllib3.Timeout(connect=timeout, read=timeout),
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
    ) -> Topics:
        """The labels a query is about, best first.

        Args:
            query: text.
            min_score: the labels of at least this score, instead of those of the thresholds.
            max_labels: only so many of the best.
            topics_only: leave out the subtopics.
            explain: tell for each label why it has its score.
            request_id: the id by which the service logs the request.

        Raises ``ServiceError`` and ``UnavailableError``.
        """
        content = {"query": query} | _options(min_score, max_labels, topics_only, explain)
        answer, told = self._ask("POST", "/v1/topics", content, request_id)
        return _topics(answer, answer["model"], told)

    def topics_batch(
        self,
        queries: Sequence[str],
        *,
        min_score: float | None = None,
        max_labels: int | None = None,
        topics_only: bool = False,
        explain: bool = False,
        request_id: str | None = None,
    ) -> list[Topics]:
        """``topics`` for each query, in order, with one request; the service limits their number.

        Raises ``ServiceError``, whose ``field`` names the query at fault, and ``UnavailableError``.
        """
        if isinstance(queries, str):
            raise TypeError("queries is one query; give a list of queries, or use topics")
        content = {"queries": list(queries)} | _options(min_score, max_labels, topics_only, explain)
        answer, told = self._ask("POST", "/v1/topics:batch", content, request_id)
        return [_topics(result, answer["model"], told) for result in answer["results"]]

    def model(self) -> dict[str, Any]:
        """Which model answers and how good it was found to be; raises as ``topics``."""
        return self._ask("GET", "/v1/model")[0]

    def taxonomy(self) -> dict[str, Any]:
        """Every topic with its subtopics; raises as ``topics``."""
        return self._ask("GET", "/v1/taxonomy")[0]

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
        self, method: str, path: str, content: Any = None, request_id: str | None = None
    ) -> tuple[dict[str, Any], str]:
        headers = dict(self._headers)
        body = None
        if content is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(content).encode()
        if request_id is not None:
            headers["X-Request-Id"] = request_id
        try:
            response = self._pool.request(method, self._path + path, body=body, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise UnavailableError(f"{self._pool.host}:{self._pool.port}: {error}") from error
        told = response.headers.get("X-Request-Id", "")
        try:
            answer = json.loads(response.data)
        except ValueError:
            answer = None
        if response.status != 200 or not isinstance(answer, dict):
            problem = answer if isinstance(answer, dict) else {}
            detail = problem.get("detail", "The answer is not that of a topiccore service.")
            raise ServiceError(response.status, detail, problem.get("field"), told or None)
        return answer, told


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


def _topics(result: dict[str, Any], model: str, request_id: str) -> Topics:
    topics = tuple(
        Topic(one["code"], one["name"], one["score"], one.get("explanation"))
        for one in result["topics"]
    )
    return Topics(topics, result["truncated"], model, request_id)
