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
from training.labels import LabelledQueries, read_labels, refuse_leakage
from training.packages import file_sha256
from training.taxonomy import read_taxonomy


@dataclass(frozen=True)
class Dataset:
    """What the stages learn from and are measured on.

    ``pool`` holds the texts that are in no labelled set; ``sums`` the SHA-256 of each source.
    """

    taxonomy: Taxonomy
    train: LabelledQueries
    test: LabelledQueries
    pool: list[str]
    sums: dict[str, str]


def data_sums(config: Config) -> dict[str, str]:
    """The SHA-256 of the files that ``[data]`` names and of the collections, by name."""
    return {
        f"{PYSERINI.name}-{PYSERINI.version}": QUERIES_SHA256,
        **{name: file_sha256(config.path(name)) for name in config.section("data")},
    }


def load_dataset(config: Config, cache: Path, report: Callable[[str], None]) -> Dataset:
    """Reads and checks all of it; fetches the collections when they are not in ``cache``.

    Raises ``DataError`` and ``CollectionError`` that name the file, and the line where one is bad.
    """
    taxonomy = read_taxonomy(config.path("taxonomy"))
    queries = load_queries(cache, report)
    train = read_labels(config.path("train"), queries, taxonomy)
    test = read_labels(config.path("test"), queries, taxonomy)
    refuse_leakage(train, test)
    pool = unlabelled_pool(queries, [*train.texts, *test.texts])
    return Dataset(taxonomy, train, test, pool, data_sums(config))
