"""The WSGI application."""

from __future__ import annotations

import os
from typing import Any

import falcon

from service import problems
from service.body_clock import BodyClock
from service.bounds import Bounds
from service.gate import Gate, Log, WsgiApp
from service.ledger import Ledger
from service.live import LiveModel, prepare
from service.openapi import describe
from service.page import PATHS, PageResource
from service.request_meter import RequestMeter
from service.resources import (
    BatchResource,
    ComparisonResource,
    DocumentResource,
    HealthResource,
    ModelResource,
    ReadyResource,
    TaxonomyResource,
    TopicsResource,
)
from service.settings import Settings
from service.stats import StatsResource
from service.tokens import Tokens
from service.unread import Unread
from topiccore import TopicModel

DEFAULT_SETTINGS = Settings()


def create_app(
    model: TopicModel | LiveModel,
    settings: Settings = DEFAULT_SETTINGS,
    *,
    meter: RequestMeter | None = None,
    ledger: Ledger | None = None,
    tokens: Tokens | None = None,
    log: Log | None = None,
    clock: BodyClock | None = None,
) -> WsgiApp:
    """The application around a model; reads no environment and no file."""
    live = model if isinstance(model, LiveModel) else LiveModel(prepare(model))
    bounds = Bounds(settings, meter, clock)
    app: falcon.App[Any, Any] = falcon.App()
    problems.install(app)
    app.add_route("/v1/topics", TopicsResource(settings, bounds))
    app.add_route("/v1/topics:batch", BatchResource(settings, bounds))
    app.add_route("/v1/model", ModelResource())
    app.add_route("/v1/taxonomy", TaxonomyResource())
    app.add_route("/v1/stats", StatsResource(ledger))
    app.add_route("/v1/comparison", ComparisonResource())
    app.add_route("/openapi.json", DocumentResource(describe(settings)))
    app.add_route("/healthz", HealthResource())
    app.add_route("/readyz", ReadyResource())
    for path in PATHS:
        app.add_route(path, PageResource(path))
    return Gate(app, live, settings, meter, tokens, log, Unread(settings, clock))


def get_app() -> WsgiApp:
    """The application of a worker, as the environment describes it.

    Raises ``SettingsError``, ``ArtifactError`` and ``TokensError``.
    """
    from service.worker import start

    return start(os.environ)
