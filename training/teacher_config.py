"""The settings of the teacher and of what it annotates: one TOML file, checked."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from training.config import HERE, build, read_toml

DEFAULT_TEACHER = HERE / "teacher.toml"


@dataclass(frozen=True)
class FineTunedConfig:
    """The member that trains MPNet's upper layers."""

    epochs: int
    batch: int
    learning_rate: float
    decay: float
    head_rate: float


@dataclass(frozen=True)
class DenseConfig:
    """The member over frozen sentence vectors."""

    epochs: int
    batch: int
    hidden: int
    learning_rate: float


@dataclass(frozen=True)
class NgramsConfig:
    """The member over word and character TF-IDF."""

    epochs: int
    batch: int
    hidden: int
    learning_rate: float
    min_count_words: int
    min_count_characters: int


@dataclass(frozen=True)
class StackerConfig:
    """The model that joins the members."""

    neighbours: int
    candidates: int
    least: float
    trees: int
    leaves: int
    learning_rate: float
    folds: int


@dataclass(frozen=True)
class PoolConfig:
    """The most texts of each source; 0 leaves it out."""

    logged: int
    questions: int
    words: int
    bigrams: int
    brands: int
    glove: int
    spliced: int
    swapped: int
    shortened: int


@dataclass(frozen=True)
class AnnotationsConfig:
    """What is kept of the scores."""

    least: float


@dataclass(frozen=True)
class TeacherConfig:
    """All settings; ``seed`` fixes every random choice."""

    seed: int
    folds: int
    fine_tuned: FineTunedConfig
    dense: DenseConfig
    ngrams: NgramsConfig
    stacker: StackerConfig
    pool: PoolConfig
    annotations: AnnotationsConfig

    def key(self, *parts: object) -> str:
        """16 hex digits that change with the teacher's settings (not the pool's) or ``parts``."""
        settings = asdict(self)
        del settings["pool"], settings["annotations"]
        return hashlib.sha256(json.dumps([settings, *parts]).encode()).hexdigest()[:16]


RANGES: dict[str, tuple[float, float]] = {
    "folds": (2, 100),
    "fine_tuned.epochs": (1, 100),
    "fine_tuned.batch": (1, 10**4),
    "fine_tuned.learning_rate": (1e-7, 1),
    "fine_tuned.decay": (0.01, 1),
    "fine_tuned.head_rate": (1e-7, 1),
    "dense.epochs": (1, 1000),
    "dense.batch": (1, 10**5),
    "dense.hidden": (1, 10**5),
    "dense.learning_rate": (1e-7, 1),
    "ngrams.epochs": (1, 1000),
    "ngrams.batch": (1, 10**5),
    "ngrams.hidden": (1, 10**5),
    "ngrams.learning_rate": (1e-7, 1),
    "ngrams.min_count_words": (1, 10**6),
    "ngrams.min_count_characters": (1, 10**6),
    "stacker.neighbours": (1, 1000),
    "stacker.candidates": (1, 1000),
    "stacker.least": (0, 0.5),
    "stacker.trees": (1, 10**4),
    "stacker.leaves": (2, 10**4),
    "stacker.learning_rate": (1e-4, 1),
    "stacker.folds": (2, 100),
    **{f"pool.{name}": (0, 10**9) for name in PoolConfig.__dataclass_fields__},
    "annotations.least": (0.01, 0.5),
}


def read_teacher_config(path: Path) -> TeacherConfig:
    """Reads a TOML file; raises ``ConfigError`` naming the setting that is missing or wrong."""
    config: TeacherConfig = build(TeacherConfig, read_toml(path), RANGES, str(path))
    return config
