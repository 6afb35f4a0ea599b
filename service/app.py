"""The WSGI application."""

from __future__ import annotations

import os
from typing import Any

import falcon

from service import problems
from service.resources import (
    WARM_UP_QUERY,
    HealthResource,
    ModelResource,
    ReadyResource,
    TopicsResource,
)
from service.settings import Settings, model_path
from topiccore import TopicModel, load

DEFAULT_SETTINGS = Settings()


def create_app(
    model: TopicModel, settings: Settings = DEFAULT_SETTINGS
) -> falcon.App[falcon.Request, falcon.Response]:
    """The application around a model; reads no environment and no file."""
    app: falcon.App[Any, Any] = falcon.App()
    app.req_options.keep_blank_qs_values = True
    app.req_options.auto_parse_qs_csv = False
    problems.install(app)
    app.add_route("/v1/topics", TopicsResource(model, settings))
    app.add_route("/v1/model", ModelResource(model))
    app.add_route("/healthz", HealthResource())
    app.add_route("/readyz", ReadyResource(model))
    return app


def get_app() -> falcon.App[falcon.Request, falcon.Response]:
    """The application of the environment: ``TOPICCORE_MODEL``, ``TOPICCORE_MAX_QUERY_BYTES``.

    Raises ``SettingsError`` and ``ArtifactError``.
    """
    settings = Settings.from_environment(os.environ)
    model = load(model_path(os.environ))
    # The first query pages the mapped arrays in; no client should wait for that.
    model.score(WARM_UP_QUERY)
    return create_app(model, settings)
