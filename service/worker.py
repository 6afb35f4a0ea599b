"""Starts what a worker process needs around the application."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from service import traces
from service.app import create_app
from service.body_clock import BodyClock
from service.candidate_source import candidate_source
from service.gate import WsgiApp
from service.ledger import Ledger
from service.live import LiveModel, LoadedModel
from service.logs import AccessLog
from service.reloader import Reloader
from service.request_meter import RequestMeter
from service.settings import Settings, model_path
from service.shared import FOLDER_VARIABLE, Control, open_control
from service.taking_up import take_up
from service.tokens import Tokens, warn_of_readers
from topiccore import ArtifactError

RETRY_SECONDS = 1.0
SWITCH_SECONDS = 0.001
"""How long a thread that computes may keep the interpreter from others: a batch, a new artifact."""

logger = logging.getLogger(__name__)


def start(environment: Mapping[str, str]) -> WsgiApp:
    """The application of this worker; raises as ``service.app.get_app``."""
    settings = Settings.from_environment(environment)
    path = model_path(environment)
    folder = Path(environment[FOLDER_VARIABLE]) if FOLDER_VARIABLE in environment else None
    control = None if folder is None else open_control(folder)
    # A call that comes while the artifacts are taken up is heeded after that.
    calls = None if control is None else control.calls()
    meter = None if folder is None else RequestMeter(folder)
    tokens = None if settings.tokens is None else Tokens(settings.tokens)
    if settings.tokens is not None and folder is None:
        # Where there is a folder, the main process has told of it once for all workers.
        warn_of_readers(settings.tokens)
    candidate = candidate_source(settings, folder, meter)
    first = _first(path, folder, control)
    live = LiveModel(first if candidate is None else candidate.beside(first))
    sys.setswitchinterval(SWITCH_SECONDS)
    Reloader(
        path,
        live,
        watch=settings.watch,
        folder=folder,
        control=control,
        tokens=tokens,
        meter=meter,
        candidate=candidate,
        calls=calls,
    ).start()
    logger.info("ready: %s", live.current.model.id[:12])
    log = AccessLog(settings.log_sample, settings.log_queries)
    clock = BodyClock(settings.body_seconds)
    clock.start()
    ledger = None if folder is None else Ledger(folder)
    app = create_app(
        live, settings, meter=meter, ledger=ledger, tokens=tokens, log=log, clock=clock
    )
    return traces.exporting(app) if traces.wanted(environment) else app


def _first(path: Path, folder: Path | None, control: Control | None) -> LoadedModel:
    good = None if control is None else control.last_good
    if control is None or good is None:
        loaded = take_up(path, folder)
        if control is not None and loaded.model.artifact.path is not None:
            control.last_good = loaded.model.artifact.path
        return loaded
    # This worker takes the place of a killed one, while the others go on.  Were it to fail as well,
    # the server would end for an artifact that all the others refuse.
    parent = os.getppid()
    while os.getppid() == parent:
        for place in (path, good):
            try:
                return take_up(place, folder)
            except ArtifactError as error:
                logger.error("refused: %s", error)
        time.sleep(RETRY_SECONDS)
    raise SystemExit(1)
