"""Takes up a new artifact while requests go on: load, check, warm up, then change one reference."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path

from service.candidate_source import CandidateSource
from service.live import LiveModel, LoadedModel
from service.request_meter import RequestMeter
from service.shared import Control, remove_folder
from service.taking_up import Counts, take_up
from service.tokens import Tokens, TokensError
from service.watched import Watched

GLANCE_SECONDS = 0.1
"""How often a worker looks whether it was called."""
WATCH_SECONDS = 0.5
"""How often it looks whether the artifact was replaced, if it watches."""
GRACE_SECONDS = 5.0
"""How long a request may go on with a model that was replaced and still be counted."""

logger = logging.getLogger(__name__)


class Reloader:
    """Watches for a new artifact and for calls, in a thread of its own."""

    def __init__(
        self,
        path: Path,
        live: LiveModel,
        *,
        watch: bool = False,
        folder: Path | None = None,
        control: Control | None = None,
        tokens: Tokens | None = None,
        meter: RequestMeter | None = None,
        candidate: CandidateSource | None = None,
        calls: int | None = None,
    ):
        self._path = path
        self._live = live
        self._watch = watch
        self._folder = folder
        self._control = control
        self._tokens = tokens
        self._meter = meter
        self._candidate = candidate
        if calls is None:
            calls = 0 if control is None else control.calls()
        self._calls = calls
        self._watched = Watched(path)
        self._retired: list[tuple[float, Counts]] = []

    def start(self) -> None:
        """Starts the thread; it ends with the process."""
        threading.Thread(target=self._run, name="reloader", daemon=True).start()

    def _run(self) -> None:
        parent = os.getppid()
        looked = time.monotonic()
        while True:
            time.sleep(GLANCE_SECONDS)
            try:
                if self._control is not None and self._control.calls() != self._calls:
                    self._calls = self._control.calls()
                    self.reload()
                now = time.monotonic()
                if now - looked < WATCH_SECONDS:
                    continue
                looked = now
                if os.getppid() != parent:
                    logger.error("the main process is gone")
                    if self._folder is not None:
                        remove_folder(self._folder)
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
                self._retire(now)
                if self._watch:
                    self.look()
            except Exception:
                logger.exception("looking for a new artifact failed")

    def look(self) -> None:
        """Takes up what was replaced and has not changed since the last look."""
        another = self._candidate is not None and self._candidate.look()
        # What is refused once is refused until it changes.
        if self._watched.changed():
            self._take_up(another)
        elif another:
            self._answer_with(self._live.current)

    def reload(self) -> None:
        """Reads the tokens again, and takes up both artifacts whatever they were."""
        if self._tokens is not None:
            try:
                self._tokens.read()
                logger.info("tokens read")
            except TokensError as error:
                logger.error("the old tokens stay: %s", error)
        self._take_up(self._candidate is not None and self._candidate.reload())

    def _take_up(self, another: bool) -> None:
        """Takes up the artifact; ``another`` tells that the candidate has changed."""
        if not self._first_changed() and another:
            self._answer_with(self._live.current)

    def _answer_with(self, new: LoadedModel) -> None:
        if self._candidate is None:
            self._live.current = new
            return
        # One reference holds both, so no request finds the one without the other.
        self._live.current = self._candidate.beside(new)
        until = time.monotonic() + GRACE_SECONDS
        self._retired += [(until, counts) for counts in self._candidate.retired()]

    def _first_changed(self) -> bool:
        self._watched.take()
        old = self._live.current
        try:
            new = take_up(self._path, self._folder)
        except Exception as error:
            logger.error("refused, %s stays: %s", old.model.id[:12], error)
            self._count("refused")
            return False
        if new.model.id == old.model.id:
            if new.counts is not None:
                new.counts.remove()
            logger.info("unchanged: %s", old.model.id[:12])
            self._count("unchanged")
            return False
        self._answer_with(new)
        if self._control is not None and new.model.artifact.path is not None:
            self._control.last_good = new.model.artifact.path
        if old.counts is not None:
            old.counts.set_live(False)
            self._retired.append((time.monotonic() + GRACE_SECONDS, old.counts))
        logger.info("loaded: %s, before it %s", new.model.id[:12], old.model.id[:12])
        self._count("loaded")
        return True

    def _retire(self, now: float) -> None:
        while self._retired and self._retired[0][0] <= now:
            self._retired.pop(0)[1].remove()

    def _count(self, result: str) -> None:
        if self._meter is not None:
            self._meter.reload(result)
