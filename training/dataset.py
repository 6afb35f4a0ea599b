"""Everything a run reads: taxonomy, labelled queries and the unlabelled pool, checked together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from topiccore.taxonomy import Taxonomy
from training.collections import (
    PYSERINI,
    QUERIES_SHA256,
    load_queries,
    unlabelled_pool,
)
from training.config import Config
from training.errors import DataError
from training.labels import LabelledQueries, gold_sets, read_labels, refuse_leakage
from training.own_data import (
    read_own_labels,
    read_texts,
    refuse_labels_without_examples,
    set_aside,
)
from training.packages import file_sha256
from training.taxonomy import read_taxonomy

_LABELS_AND_TEXTS = ("train", "filled_in", "validation", "test", "unlabelled")


@dataclass(frozen=True)
class Dataset:
    """What the stages learn from and are measured on.

    ``pool`` holds the texts that are in no labelled set, ``queries`` the texts of the built-in
    collections by id (empty for other data); ``sums`` the SHA-256 of each source.
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
    sums = {}
    if config.is_built_in:
        sums[f"{PYSERINI.name}-{PYSERINI.version}"] = QUERIES_SHA256
    files = {"taxonomy": [config.path("taxonomy")]}
    files |= {name: config.files(name) for name in _LABELS_AND_TEXTS}
    if annotated := config.annotation_file():
        files["annotations"] = [annotated]
    files["annotated texts"] = config.annotated_texts()
    for name, paths in files.items():
        for number, path in enumerate(paths):
            try:
                sums[f"{name} {number + 1}" if number else name] = file_sha256(path)
            except OSError as error:
                raise DataError(f"{path}: {error.strerror}") from error
    return sums


def load_dataset(config: Config, cache: Path, report: Callable[[str], None]) -> Dataset:
    """Reads and checks all of it; fetches the collections when labels name their queries.

    Raises ``DataError`` and ``CollectionError`` that name the file, and the line where one is bad.
    """
    taxonomy = read_taxonomy(config.path("taxonomy"))
    queries = load_queries(cache, report) if config.is_built_in else {}

    def read(name: str) -> LabelledQueries:
        files = config.files(name)
        if not files:
            return LabelledQueries([], [], np.zeros(0, np.int64), gold_sets([], taxonomy))
        if queries:
            return read_labels(files[0], queries, taxonomy)
        return read_own_labels(files, taxonomy, report)

    train, validation, test = read("train"), read("validation"), read("test")
    added = 0
    if filled_in := config.files("filled_in"):
        filled = read_own_labels(filled_in, taxonomy, report)
        validation = validation.corrected(filled)
        new = filled.without(train).without(validation)
        train, added = train.corrected(filled).joined(new), len(new)
    if config.data.validation:
        before = len(train)
        train = train.without(validation)
        # Of the built-in labels, the validation queries are a part of the training file.
        if (shared := before - len(train)) and not config.is_built_in:
            report(f"{shared} of the training queries are validation queries: not learned from")
    else:
        train, validation = set_aside(train, config.data.held_out, config.seed, added)
        report(f"{len(validation)} of the training queries are set aside for validation")
    try:
        refuse_leakage(train, test, "training")
        refuse_leakage(validation, test, "validation")
    except DataError as error:
        raise DataError(f"{config.path('test')}: {error}") from error
    known = [*train.texts, *validation.texts, *test.texts]
    if queries:
        pool = unlabelled_pool(queries, known)
    else:
        refuse_labels_without_examples(train, taxonomy, str(config.path("train")))
        taken = set(known)
        pool = [text for text in read_texts(config.files("unlabelled")) if text not in taken]
    return Dataset(taxonomy, train, validation, test, pool, queries, data_sums(config))
