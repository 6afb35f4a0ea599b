"""The paths of the service."""

from __future__ import annotations

import json
import logging
from http import HTTPStatus

import falcon

import topiccore
from service.encoding import encode
from service.problems import Problem
from service.score_request import ScoreRequest, from_body, from_query_string
from service.settings import Settings
from topiccore import QueryTooLongError, TopicModel

WARM_UP_QUERY = "used car"

logger = logging.getLogger(__name__)


class TopicsResource:
    """``/v1/topics``: the topics of one query, best first."""

    def __init__(self, model: TopicModel, settings: Settings):
        self._model = model
        self._settings = settings
        self._labels = len(model.taxonomy)

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Scores ``?q=...&min_score=...&max_labels=...``."""
        resp.data = self._answer(from_query_string(req, self._settings), "q")

    on_head = on_get

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Scores ``{"query": ..., "min_score": ..., "max_labels": ...}``."""
        resp.data = self._answer(from_body(req, self._settings), "query")

    def _answer(self, request: ScoreRequest, field: str) -> bytes:
        limit = request.max_labels
        try:
            answer = self._model.score(
                request.query,
                min_score=request.min_score,
                # Any larger number means the same, and the kernel's integers are small.
                max_labels=None if limit is None else min(limit, self._labels),
            )
        except QueryTooLongError as error:
            raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{error}.", field) from error
        topics = [
            {"code": label.code, "name": label.name, "score": round(label.score, 4)}
            for label in answer
        ]
        return encode({"topics": topics, "truncated": answer.truncated, "model": self._model.id})


class ModelResource:
    """``/v1/model``: which model answers, and how good it was found to be."""

    def __init__(self, model: TopicModel):
        content = {
            "id": model.id,
            "labels": len(model.taxonomy),
            "topics": len(model.taxonomy.topics),
            "training": dict(model.training),
            "data": dict(model.artifact.data),
            "topiccore_version": topiccore.__version__,
        }
        # A figure that is NaN in the manifest becomes null.
        self._data = encode(json.loads(json.dumps(content), parse_constant=lambda _: None))

    def on_get(self, _: falcon.Request, resp: falcon.Response) -> None:
        """Tells id, sizes, training figures, data and version."""
        resp.data = self._data

    on_head = on_get


class HealthResource:
    """``/healthz``: the process lives."""

    def on_get(self, _: falcon.Request, resp: falcon.Response) -> None:
        """Always 200."""
        resp.cache_control = ["no-store"]
        resp.data = b'{"status":"ok"}'

    on_head = on_get


class ReadyResource:
    """``/readyz``: the model answers."""

    def __init__(self, model: TopicModel):
        self._model = model

    def on_get(self, _: falcon.Request, resp: falcon.Response) -> None:
        """200 when the model answers a warm-up query, else 503."""
        resp.cache_control = ["no-store"]
        try:
            self._model.score(WARM_UP_QUERY)
        except Exception as error:
            logger.exception("the model does not answer the warm-up query")
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "The model does not answer; see the log."
            ) from error
        resp.data = b'{"status":"ready"}'

    on_head = on_get
