"""The paths of the service."""

from __future__ import annotations

import logging
from http import HTTPStatus

import falcon

from service import comparison_counts
from service.answers import answer_batch, answer_one
from service.bounds import Bounds
from service.encoding import encode
from service.environ import BATCH, KERNEL_NS, LOADED, QUERY
from service.live import WARM_UP_QUERY, LoadedModel
from service.problems import Problem
from service.score_request import Options, from_batch_body, from_body, from_query_string
from service.settings import Settings

logger = logging.getLogger(__name__)


class TopicsResource:
    """``/v1/topics``: the topics of one query, best first."""

    def __init__(self, settings: Settings, bounds: Bounds):
        self._settings = settings
        self._bounds = bounds

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Scores ``?q=...`` with the options."""
        query, options = from_query_string(req.env["QUERY_STRING"], self._settings)
        self._answer(req, resp, query, options)

    on_head = on_get

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Scores ``{"query": ...}`` with the options."""
        with self._bounds.body(req.env):
            query, options = from_body(req, self._settings)
        self._answer(req, resp, query, options)

    def _answer(
        self, req: falcon.Request, resp: falcon.Response, query: bytes, options: Options
    ) -> None:
        environ = req.env
        environ[QUERY] = query
        loaded: LoadedModel = environ[LOADED]
        if options.explain:
            with self._bounds.explanations:
                resp.data, environ[KERNEL_NS] = answer_one(loaded, query, options)
        else:
            resp.data, environ[KERNEL_NS] = answer_one(loaded, query, options)


class BatchResource:
    """``/v1/topics:batch``: the topics of many queries, one result each, in order."""

    def __init__(self, settings: Settings, bounds: Bounds):
        self._settings = settings
        self._bounds = bounds

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Scores ``{"queries": [...]}`` with the options."""
        with self._bounds.body(req.env):
            queries, options = from_batch_body(req, self._settings)
        req.env[BATCH] = len(queries)
        loaded: LoadedModel = req.env[LOADED]
        if options.explain:
            with self._bounds.explanations:
                resp.data, req.env[KERNEL_NS] = answer_batch(loaded, queries, options)
        else:
            resp.data, req.env[KERNEL_NS] = answer_batch(loaded, queries, options)


class ModelResource:
    """``/v1/model``: which model answers, and how good it was found to be."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Tells id, sizes, training figures, data and versions."""
        resp.data = req.env[LOADED].description

    on_head = on_get


class TaxonomyResource:
    """``/v1/taxonomy``: every topic with its subtopics."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Tells codes, names and scopes, in the order of the taxonomy."""
        resp.data = req.env[LOADED].taxonomy

    on_head = on_get


class ComparisonResource:
    """``/v1/comparison``: how often the second artifact answers differently."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Tells the counts of all workers, for the artifacts that this one compares."""
        loaded: LoadedModel = req.env[LOADED]
        resp.cache_control = ["no-store"]
        resp.data = encode(
            comparison_counts.nothing(loaded.model)
            if loaded.second is None
            else loaded.second.comparison()
        )

    on_head = on_get


class DocumentResource:
    """A JSON document that never changes, such as ``/openapi.json``."""

    def __init__(self, data: bytes):
        self._data = data

    def on_get(self, _: falcon.Request, resp: falcon.Response) -> None:
        """Gives the document."""
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

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """200 when the model answers a warm-up query, else 503."""
        resp.cache_control = ["no-store"]
        try:
            req.env[LOADED].writer.write(WARM_UP_QUERY, None)
        except Exception as error:
            logger.exception("the model does not answer the warm-up query")
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "The model does not answer; see the log."
            ) from error
        resp.data = b'{"status":"ready"}'

    on_head = on_get
