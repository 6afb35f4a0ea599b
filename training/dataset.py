"""Everything a run reads: taxonomy, labelled queries and the unlabelled pool, checked together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from topiccore.taxonomy import Taxonomy
from training.collections import (
    PYSERINI,
    QUERIES_SHA256,
    load_queries,
    unlabelled_pool,
)
from training.config import Config
from training.errors import DataError
from training.labels import LabelledQueries, read_labels, refuse_leakage
from training.packages import file_sha256
from training.taxonomy import read_taxonomy


@dataclass(frozen=True)
class Dataset:
    """What the stages learn from and are measured on.

    ``pool`` holds the texts that are in no labelled set, ``queries`` the texts of the collections
    by id; ``sums`` the SHA-256 of each source.
    """

    taxonomy: Taxonomy
    train: LabelledQueries
    validation: LabelledQueries
    test: LabelledQueries
    pool: list[str]
    queries: dict[str, str]
    sums: dict[str, str]


def data_sums(config: Config) -> dict[str, str]:
    """The SHA-256 of the files that ``[data]`` names and of the collections, by name.

    Raises ``DataError`` naming a file that cannot be read.
    """
    sums = {f"{PYSERINI.name}-{PYSERINI.version}": QUERIES_SHA256}
    for name in config.section("data"):
        try:
            sums[name] = file_sha256(config.path(name))
        except OSError as error:
            raise DataError(f"{config.path(name)}: {error.strerror}") from error
    if annotated := config.annotation_file():
        try:
            sums["annotations"] = file_sha256(annotated)
        except OSError as error:
            raise DataError(f"{annotated}: {error.strerror}") from error
    return sums


def load_dataset(config: Config, cache: Path, report: Callable[[str], None]) -> Dataset:
    """Reads and checks all of it; fetches the collections when they are not in ``cache``.

    Raises ``DataError`` and ``CollectionError`` that name the file, and the line where one is bad.
    """
    taxonomy = read_taxonomy(config.path("taxonomy"))
    queries = load_queries(cache, report)
    validation = read_labels(config.path("validation"), queries, taxonomy)
    train = read_labels(config.path("train"), queries, taxonomy).without(validation)
    test = read_labels(config.path("test"), queries, taxonomy)
    try:
        refuse_leakage(train, test)
        refuse_leakage(validation, test)
    except DataError as error:
        raise DataError(f"{config.path('test')}: {error}") from error
    pool = unlabelled_pool(queries, [*train.texts, *validation.texts, *test.texts])
    return Dataset(taxonomy, train, validation, test, pool, queries, data_sums(config))
