"""Takes up the second artifact, changes and removes it, beside whatever the first is."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from service.answer_counts import AnswerCounts
from service.candidate import CANARY, SHADOW, Candidate
from service.comparison_counts import ComparisonCounts, Pair
from service.live import LoadedModel
from service.request_meter import RequestMeter
from service.settings import Settings
from service.taking_up import Counts, take_up
from service.watched import Watched

logger = logging.getLogger(__name__)


def candidate_source(
    settings: Settings, folder: Path | None, meter: RequestMeter | None
) -> CandidateSource | None:
    """The source of the second artifact that the settings name; it has taken up what is there."""
    if settings.canary is not None:
        return CandidateSource(settings.canary, CANARY, settings.canary_share, folder, meter)
    if settings.shadow is not None:
        return CandidateSource(settings.shadow, SHADOW, settings.shadow_share, folder, meter)
    return None


class CandidateSource:
    """The place of a second artifact, which there may be or not.

    Args:
        path: an artifact directory, a link or a file that names one; nothing there: no candidate.
        mode: ``CANARY`` or ``SHADOW``.
        share: of the requests, from 0 to 1.
        folder: where is counted; ``None``: in this process.
        meter: counts attempts to take up an artifact.
    """

    def __init__(
        self,
        path: Path,
        mode: str,
        share: float,
        folder: Path | None = None,
        meter: RequestMeter | None = None,
    ):
        self._path = path
        self._mode = mode
        self._share = share
        self._folder = folder
        self._meter = meter
        self._loaded: LoadedModel | None = None
        self._pair: ComparisonCounts | None = None
        self._answers: AnswerCounts | None = None
        self._retired: list[Counts] = []
        self._watched = Watched(path, optional=True)
        self.reload()

    def look(self) -> bool:
        """As ``reload``, if there is a change that has lasted since the last look."""
        return self._watched.changed() and self.reload()

    def reload(self) -> bool:
        """Takes up what is there now; whether that is another artifact, or none any more.

        An artifact that does not pass is refused, and the candidate before it goes on.
        """
        self._watched.take()
        old = self._loaded
        if self._watched.empty:
            self._loaded = None
            if old is None:
                logger.warning("no %s: nothing at %s", self._mode, self._path)
                return False
            logger.info("%s removed: %s", self._mode, old.model.id[:12])
            self._count("removed")
            return True
        try:
            new = take_up(self._path, None)
        except Exception as error:
            told = "no candidate" if old is None else old.model.id[:12]
            logger.error("%s refused, %s stays: %s", self._mode, told, error)
            self._count("refused")
            return False
        if old is not None and new.model.id == old.model.id:
            self._count("unchanged")
            return False
        self._loaded = new
        logger.info("%s loaded: %s", self._mode, new.model.id[:12])
        self._count("loaded")
        return True

    def beside(self, stable: LoadedModel) -> LoadedModel:
        """The first artifact with the candidate; by itself where there is no other one."""
        stable = replace(stable, second=None)
        loaded = self._loaded
        wanted: Pair | None = None
        if loaded is not None and loaded.model.id != stable.model.id:
            wanted = (stable.model.id, loaded.model.id)
        if self._pair is not None and self._pair.pair != wanted:
            self._pair.set_live(False)
            self._retired.append(self._pair)
            self._pair = None
        if self._answers is not None and (wanted is None or self._answers.model != wanted[1]):
            if self._answers.model == stable.model.id and stable.counts is not None:
                # Promoted: it goes on counting where it did, so that no sum falls.
                stable.counts.remove()
                stable = replace(stable, counts=self._answers)
                self._answers.set_live(True)
            else:
                self._retired.append(self._answers)
            self._answers = None
        if wanted is None or loaded is None:
            return stable
        if self._pair is None:
            self._pair = ComparisonCounts(stable.model, loaded.model, self._folder)
            self._pair.set_live(True)
        if self._mode == CANARY and self._answers is None and self._folder is not None:
            self._answers = AnswerCounts(self._folder, loaded.model)
        candidate = Candidate(
            stable, replace(loaded, counts=self._answers), self._mode, self._share, self._pair
        )
        return replace(stable, second=candidate)

    def retired(self) -> list[Counts]:
        """The counts that nothing is added to but by requests under way; each is told once."""
        found, self._retired = self._retired, []
        return found

    def _count(self, result: str) -> None:
        if self._meter is not None:
            self._meter.candidate(result)
