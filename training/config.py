"""The settings of a training run: one TOML file, checked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from glob import glob
from pathlib import Path
from typing import Any, get_type_hints

from training.errors import ConfigError, DataError
from training.labels import HEADER
from training.tables import has_header

HERE = Path(__file__).resolve().parent
DEFAULT = HERE / "default.toml"
TEMPLATE = HERE / "project.toml"
"""What ``topiccore init`` writes; settings that are missing for other data are taken from here."""


@dataclass(frozen=True)
class DataConfig:
    """Files, relative to the configuration file; all but ``taxonomy`` may be patterns (``*.csv``).

    ``validation`` holds queries that the student does not learn from, whether or not ``train`` has
    them; where it is empty, a share ``held_out`` of the training queries is set aside.  What
    ``filled_in`` has of a text counts in place of what ``train`` has.  ``filled_in``, ``test`` and
    ``unlabelled`` may be empty.
    """

    taxonomy: str
    train: str
    filled_in: str
    validation: str
    test: str
    unlabelled: str
    held_out: float


@dataclass(frozen=True)
class VectorsConfig:
    """gensim Word2Vec, trained on the pool and the training queries."""

    dimensions: int
    window: int
    epochs: int
    negative: int
    min_count: int


@dataclass(frozen=True)
class WordsConfig:
    """The vocabulary, and what is known of its words."""

    glove_words: int
    ngram_shortest: int
    ngram_longest: int
    ngram_min_count: int
    vector_length: float


@dataclass(frozen=True)
class AnnotationsConfig:
    """The teacher's annotations: a file, empty for none, and the weight of each source in it.

    ``labelled`` is the teacher's share in the targets of labelled queries, in [0, 1].  ``texts``
    may name Parquet files of annotated texts (``training.stored_examples``); a pattern is allowed.
    """

    file: str
    texts: str
    texts_weight: float
    labelled: float
    logged: float
    questions: float
    words: float
    bigrams: float
    brands: float
    glove: float
    spliced: float
    swapped: float
    shortened: float


@dataclass(frozen=True)
class StudentConfig:
    """The multi-label logistic regression and its features."""

    min_count_words: int
    min_count_bigrams: int
    epochs: int
    batch: int
    learning_rate: float
    vector_learning_rate: float
    l2: float
    smoothing: float
    bigram_scale: float


@dataclass(frozen=True)
class ThresholdsConfig:
    """How thresholds are chosen on queries that nothing was learned from."""

    precision: float
    confidence: float
    further: float
    min_support: int


@dataclass(frozen=True)
class ReportConfig:
    """What a report has besides the figures of the model."""

    learning_curve: bool


@dataclass(frozen=True)
class Config:
    """All settings; ``seed`` fixes every random choice."""

    seed: int
    data: DataConfig
    vectors: VectorsConfig
    words: WordsConfig
    annotations: AnnotationsConfig
    student: StudentConfig
    thresholds: ThresholdsConfig
    report: ReportConfig
    folder: Path = field(default=HERE, metadata={"setting": False})

    @property
    def is_built_in(self) -> bool:
        """Whether the labels are of the built-in collections.

        Raises ``ConfigError`` and ``DataError`` when the training labels are not there.
        """
        return has_header(self.files("train")[0], HEADER)

    def unannotated(self) -> Config:
        """The same without annotations: for who is about to make them."""
        return replace(self, annotations=replace(self.annotations, file="", texts=""))

    def path(self, name: str) -> Path:
        """The file of a ``[data]`` setting."""
        return self.folder / str(getattr(self.data, name))

    def files(self, name: str) -> list[Path]:
        """The files of a ``[data]`` setting, sorted; none where it is empty.

        Raises ``ConfigError`` when a pattern has no file.
        """
        pattern = str(getattr(self.data, name))
        if not pattern:
            return []
        if not any(sign in pattern for sign in "*?["):
            return [self.path(name)]
        found = sorted(Path(file) for file in glob(str(self.path(name)), recursive=True))
        if not found:
            raise ConfigError(f"data.{name}: no file is called {self.path(name)}")
        return found

    def annotation_file(self) -> Path | None:
        """The annotation file, ``None`` when there is none."""
        return self.folder / self.annotations.file if self.annotations.file else None

    def annotated_texts(self) -> list[Path]:
        """The Parquet files of annotated texts; raises ``ConfigError`` when a pattern has none."""
        pattern = self.annotations.texts
        if not pattern:
            return []
        found = sorted(Path(file) for file in glob(str(self.folder / pattern), recursive=True))
        if not found:
            raise ConfigError(f"annotations.texts: no file is called {self.folder / pattern}")
        return found

    def section(self, name: str) -> dict[str, Any]:
        """A section's settings as a dictionary."""
        return asdict(getattr(self, name))


# Lower bounds (inclusive) and upper bounds (inclusive), by "section.setting".
RANGES: dict[str, tuple[float, float]] = {
    "data.held_out": (0.01, 0.9),
    "seed": (0, 2**32 - 1),
    "vectors.dimensions": (1, 1000),
    "vectors.window": (1, 100),
    "vectors.epochs": (1, 1000),
    "vectors.negative": (1, 100),
    "vectors.min_count": (1, 10**6),
    "words.glove_words": (0, 400_000),
    "words.ngram_shortest": (1, 16),
    "words.ngram_longest": (1, 16),
    "words.ngram_min_count": (1, 10**6),
    "words.vector_length": (1e-3, 1e3),
    "annotations.texts_weight": (0, 100),
    "annotations.labelled": (0, 1),
    "annotations.logged": (0, 100),
    "annotations.questions": (0, 100),
    "annotations.words": (0, 100),
    "annotations.bigrams": (0, 100),
    "annotations.brands": (0, 100),
    "annotations.glove": (0, 100),
    "annotations.spliced": (0, 100),
    "annotations.swapped": (0, 100),
    "annotations.shortened": (0, 100),
    "student.min_count_words": (1, 10**6),
    "student.min_count_bigrams": (1, 10**6),
    "student.epochs": (1, 1000),
    "student.batch": (1, 10**6),
    "student.learning_rate": (1e-6, 100),
    "student.vector_learning_rate": (1e-6, 100),
    "student.l2": (0, 1e3),
    "student.smoothing": (0, 0.49),
    "student.bigram_scale": (0, 10),
    "thresholds.precision": (0.01, 0.9999),
    "thresholds.confidence": (0.5, 0.9999),
    "thresholds.further": (0.01, 1),
    "thresholds.min_support": (1, 10**6),
}


def read_config(path: Path) -> Config:
    """Reads a TOML file; raises ``ConfigError`` naming the setting that is missing or wrong.

    With labels of the built-in collections every setting has to be there; for other data, those
    that are missing are what ``topiccore init`` writes, but files: these are none.
    """
    raw = read_toml(path)
    config = _config(_completed(raw), path)
    try:
        built_in = config.is_built_in
    except (ConfigError, DataError):
        # A file that is missing is told by who needs it: not every command does.
        return config
    return _config(raw, path) if built_in else config


def _config(raw: Mapping[str, Any], path: Path) -> Config:
    config: Config = build(Config, raw, RANGES, str(path))
    return replace(config, folder=path.resolve().parent)


def _completed(raw: Mapping[str, Any]) -> dict[str, Any]:
    template = read_toml(TEMPLATE)
    own = template.pop("data")
    files = {name: "" for name, value in own.items() if isinstance(value, str)}
    del files["taxonomy"], files["train"]
    defaults = {**template, "data": {"held_out": own["held_out"], **files}}
    completed = {name: value for name, value in defaults.items() if name != "data"} | dict(raw)
    for name, value in defaults.items():
        if isinstance(value, dict) and isinstance(found := completed.get(name), dict):
            completed[name] = value | found
    return completed


def read_toml(path: Path) -> dict[str, Any]:
    """The table of a TOML file; raises ``ConfigError`` naming the file."""
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error


def build(
    kind: Any,
    raw: Mapping[str, Any],
    ranges: Mapping[str, tuple[float, float]],
    path: str,
    prefix: str = "",
) -> Any:
    """A dataclass of settings from a TOML table; raises ``ConfigError`` naming the setting.

    ``ranges`` has the bounds, both inclusive, by "section.setting"; ``path`` is for messages.
    """
    hints = get_type_hints(kind)
    names = [item.name for item in fields(kind) if item.metadata.get("setting", True)]
    for name in raw:
        if name not in names:
            raise ConfigError(f"{path}: unknown setting {prefix}{name}")
    values = {}
    for name in names:
        place = prefix + name
        if name not in raw:
            raise ConfigError(f"{path}: setting {place} is missing")
        value = raw[name]
        if is_dataclass(hints[name]):
            if not isinstance(value, dict):
                raise ConfigError(f"{path}: {place} is not a section")
            values[name] = build(hints[name], value, ranges, path, f"{place}.")
        else:
            values[name] = _value(value, hints[name], f"{path}: {place}", ranges.get(place))
    return kind(**values)


def _value(value: Any, kind: Any, place: str, bounds: tuple[float, float] | None) -> Any:
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise ConfigError(f"{place} is {value!r}, not {kind.__name__}")
    if bounds and not bounds[0] <= value <= bounds[1]:
        raise ConfigError(f"{place} is {value}, not between {bounds[0]:g} and {bounds[1]:g}")
    return value
