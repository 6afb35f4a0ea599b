"""Starts what a worker process needs around the application."""

from __future__ import annotations

from collections.abc import Mapping

from service.app import create_app
from service.gate import WsgiApp
from service.live import WARM_UP_QUERY, LiveModel, prepare
from service.settings import Settings, model_path
from topiccore import load


def start(environment: Mapping[str, str]) -> WsgiApp:
    """The application of this worker; raises as ``service.app.get_app``."""
    settings = Settings.from_environment(environment)
    model = load(model_path(environment))
    model.score(WARM_UP_QUERY)
    return create_app(LiveModel(prepare(model)), settings)
