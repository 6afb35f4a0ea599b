"""The teacher that ``topiccore annotate`` has trained, opened again to score any texts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import scipy.sparse as sp

from training.annotate import make_teacher
from training.collections import normal_form
from training.config import read_config
from training.dataset import load_dataset
from training.encoder import parts
from training.errors import TrainingError
from training.teacher import Teacher, quiet
from training.teacher_config import read_teacher_config


@dataclass(frozen=True, slots=True)
class KeptTeacher:
    """Paths of the cache folder and of the settings a teacher was trained with.

    Calling it returns the function from texts to scores; that function keeps nothing on disk.
    """

    cache: Path
    config: Path
    settings: Path

    def find(self) -> Teacher:
        """The teacher, not opened yet; raises ``TrainingError`` when no such teacher is kept."""
        config = read_config(self.config)
        data = load_dataset(config.unannotated(), self.cache, quiet)
        teacher = make_teacher(read_teacher_config(self.settings), data, self.cache, quiet)
        if not teacher.is_kept:
            raise TrainingError(
                f"{teacher.folder}: no teacher of these settings and labels; "
                "train it by 'topiccore annotate'"
            )
        return teacher

    def __call__(self) -> Callable[[list[str]], sp.csr_matrix]:
        """Raises as ``find``: it trains none."""
        teacher = self.find()
        teacher.fit()

        def scores(texts: list[str]) -> sp.csr_matrix:
            found = []
            for part in parts([normal_form(text) for text in texts]):
                # Encoded texts take 11 KB each: too much to keep for a large table.
                with tempfile.TemporaryDirectory(prefix="topiccore-") as scratch:
                    teacher.encoder.folder = Path(scratch)
                    found.append(teacher.score(teacher.encoder.encode(part)))
            return sp.vstack(found, format="csr")

        return scores
