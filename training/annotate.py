"""Trains the teacher, lets it label the pool, writes the annotation file.

Everything that takes long is kept in the cache folder as it is finished: an interrupted run, or one
with a larger pool, goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from topiccore.taxonomy import Taxonomy
from training.annotations import Annotations, write_annotations
from training.calibration import calibration_error
from training.collections import PYSERINI, QUERIES_SHA256, load_queries
from training.config import Config
from training.encoder import MINILM, MPNET_PARTS
from training.evaluate import coverage_at_precision, topic_scores, views
from training.glove import GLOVE
from training.labels import LabelledQueries, read_labels, refuse_leakage
from training.packages import file_sha256
from training.pool import BRANDS, pool_sources
from training.taxonomy import read_taxonomy
from training.teacher import MEMBERS, Teacher
from training.teacher_config import TeacherConfig

Report = Callable[[str], None]
Figures = dict[str, Any]


def annotate(
    config: Config,
    settings: TeacherConfig,
    cache: Path,
    output: Path,
    measure: bool,
    report: Report,
) -> Figures:
    """Trains the teacher on the training labels, annotates the pool, writes ``output``.

    Returns the teacher's figures: coverage at 90 % precision and calibration error, out of fold
    and, with ``measure``, on the test queries.
    """
    taxonomy = read_taxonomy(config.path("taxonomy"))
    queries = load_queries(cache, report)
    train = read_labels(config.path("train"), queries, taxonomy)
    test = read_labels(config.path("test"), queries, taxonomy)
    refuse_leakage(train, test)
    teacher = fit_teacher(config, settings, taxonomy, train, cache, report)
    assert teacher.out_of_fold_scores is not None
    figures: Figures = {
        "teacher": teacher.key,
        "out_of_fold": out_of_fold_figures(teacher, report),
    }
    if measure:
        scores = sp.vstack(list(teacher.score_texts(test.texts, "test queries"))).toarray()
        figures["test"] = {"teacher": quality_figures(scores, test, taxonomy)}
        _tell("test: teacher", figures["test"]["teacher"], report)
    sources = pool_sources(cache, queries, train.texts, test.texts, vars(settings.pool), report)
    annotations = [Annotations("labelled", train.ids, train.texts, teacher.out_of_fold_scores)]
    for source in sources:
        texts = list(source.texts.values())
        scores = sp.vstack(list(teacher.score_texts(texts, source.name)), format="csr")
        annotations.append(Annotations(source.name, list(source.texts), texts, scores))
    least = settings.annotations.least
    about = {
        "least": least,
        "teacher": teacher.key,
        "data": {
            config.path(name).name: file_sha256(config.path(name))
            for name in ("taxonomy", "train", "test")
        }
        | {"queries.tsv": QUERIES_SHA256},
        "packages": {
            package.file: package.sha256
            for package in (PYSERINI, *MPNET_PARTS, MINILM, GLOVE, BRANDS)
        },
    }
    kept = [
        Annotations(part.source, part.ids, part.texts, _at_least(part.scores, least))
        for part in annotations
    ]
    write_annotations(output, kept, [label.code for label in taxonomy], about)
    report(f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB)")
    figures["annotated"] = {part.source: len(part.ids) for part in annotations}
    return figures


def fit_teacher(
    config: Config,
    settings: TeacherConfig,
    taxonomy: Taxonomy,
    train: LabelledQueries,
    cache: Path,
    report: Report,
) -> Teacher:
    """The fitted teacher; its key names settings, labels and encoders."""
    sums = [file_sha256(config.path(name)) for name in ("taxonomy", "train")]
    packages = [package.sha256 for package in (*MPNET_PARTS, MINILM)]
    key = settings.key(sums, packages)
    teacher = Teacher(settings, taxonomy, train, key, cache, report)
    teacher.fit()
    return teacher


def out_of_fold_figures(teacher: Teacher, report: Report) -> dict[str, Figures]:
    """The figures of each member and of the whole teacher on the labelled queries."""
    assert teacher.out_of_fold_scores is not None
    figures = {}
    for name in MEMBERS:
        scores = 1 / (1 + np.exp(-teacher.member_logits(name)))
        figures[name] = quality_figures(scores, teacher.labelled, teacher.taxonomy)
        _tell(f"out of fold: {name}", figures[name], report)
    scores = teacher.out_of_fold_scores.toarray()
    figures["teacher"] = quality_figures(scores, teacher.labelled, teacher.taxonomy)
    _tell("out of fold: teacher", figures["teacher"], report)
    return figures


def quality_figures(
    scores: NDArray[np.floating], queries: LabelledQueries, taxonomy: Taxonomy
) -> Figures:
    """Coverage at 90 % precision over each set of labels, plain and weighted; calibration error."""
    raised = topic_scores(scores, taxonomy)
    figures: Figures = {}
    for name, chosen in views(taxonomy):
        part, gold = raised[:, chosen], queries.gold[:, chosen]
        figures[name] = {
            "coverage": round(coverage_at_precision(part, gold).coverage, 4),
            "weighted": round(
                coverage_at_precision(part, gold, weights=queries.counts).coverage, 4
            ),
        }
    figures["calibration error"] = round(calibration_error(raised, queries.gold), 4)
    return figures


def _tell(name: str, figures: Figures, report: Report) -> None:
    parts = [
        f"{view} {value['coverage']:.1%} ({value['weighted']:.1%} weighted)"
        for view, value in figures.items()
        if isinstance(value, dict)
    ]
    report(f"{name}: coverage at 90 % precision: {', '.join(parts)}")


def _at_least(scores: sp.csr_matrix, least: float) -> sp.csr_matrix:
    kept = scores.copy()
    kept.data[kept.data < least] = 0
    kept.eliminate_zeros()
    return kept
