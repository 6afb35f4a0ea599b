"""Trains the teacher, lets it label the pool, writes the annotation file.

Everything that takes long is kept in the cache folder as it is finished: an interrupted run, or one
with a larger pool, goes on from there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from topiccore.taxonomy import Taxonomy
from training.annotations import Annotations, write_annotations
from training.calibration import calibration_error
from training.collections import PYSERINI
from training.config import Config
from training.dataset import Dataset, load_dataset
from training.encoder import MINILM, MPNET_PARTS, parts
from training.errors import DataError
from training.evaluate import coverage_at_precision, topic_scores, views
from training.glove import GLOVE
from training.labels import LabelledQueries
from training.pool import BRANDS, pool_sources
from training.report.curves import CURVES, add_curves, curves
from training.stored_examples import write_examples
from training.teacher import MEMBERS, Teacher
from training.teacher_config import TeacherConfig

Report = Callable[[str], None]
Figures = dict[str, Any]
LEAST_LABELLED = 100
"""With fewer, the stacker would have nothing to learn from."""


def annotate(
    config: Config,
    settings: TeacherConfig,
    cache: Path,
    output: Path,
    measure: bool,
    processes: int,
    report: Report,
) -> Figures:
    """Trains the teacher on the training labels, annotates the pool, writes ``output``.

    The texts are shared among so many ``processes`` (``Teacher.workers``).

    For the built-in collections that is an annotation file; for other data the pool are its
    unlabelled texts, and ``output`` is Parquet as ``training.stored_examples`` reads it.

    Nothing is learned from the validation queries, so thresholds chosen on them stay honest, and
    neither they nor the test queries are annotated.  Returns the teacher's figures: coverage at
    90 % precision and calibration error, out of fold, on the validation queries and, with
    ``measure``, on the test queries.  Raises ``DataError`` when there is nothing to annotate.
    """
    # The file that is about to be made need not be there.
    data = load_dataset(config.unannotated(), cache, report)
    if not data.queries:
        _refuse_too_little(config, data, measure)
    teacher = fit_teacher(settings, data, cache, report)
    assert teacher.out_of_fold_scores is not None
    figures: Figures = {
        "teacher": teacher.key,
        "out_of_fold": out_of_fold_figures(teacher, report),
    }
    with teacher.workers(processes):
        measured = {"validation": data.validation} | ({"test": data.test} if measure else {})
        for name, queries in measured.items():
            scores = sp.vstack(
                list(teacher.score_texts(queries.texts, f"{name} queries"))
            ).toarray()
            figures[name] = quality_figures(scores, queries, data.taxonomy)
            if name == "test" and data.queries:
                # For the reports: what the student is held against.
                add_curves(
                    CURVES, data.sums["test"], {"teacher": curves(scores, queries, data.taxonomy)}
                )
            _tell(name, figures[name], report)
        if data.queries:
            figures["annotated"] = _annotate_collections(
                teacher, settings, data, cache, output, report
            )
        else:
            figures["annotated"] = _annotate_texts(teacher, settings, data, output)
    report(f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB)")
    return figures


def _refuse_too_little(config: Config, data: Dataset, measure: bool) -> None:
    if not data.pool:
        raise DataError(
            "data.unlabelled has no texts to annotate"
            if config.data.unlabelled
            else 'data.unlabelled is "": name the texts that the teacher is to annotate'
        )
    if measure and not len(data.test):
        raise DataError("there are no test queries to measure on: data.test names no file")
    if len(data.train) < LEAST_LABELLED:
        raise DataError(
            f"{config.path('train')}: {len(data.train)} training queries; a teacher needs "
            f"{LEAST_LABELLED} or more"
        )


def _annotate_texts(
    teacher: Teacher, settings: TeacherConfig, data: Dataset, output: Path
) -> dict[str, int]:
    least = settings.annotations.least
    scores = teacher.score_texts(data.pool, "unlabelled texts")
    found = zip(parts(data.pool), (_at_least(part, least) for part in scores), strict=True)
    write_examples(output, found, [label.code for label in data.taxonomy])
    return {"unlabelled": len(data.pool)}


def _annotate_collections(
    teacher: Teacher,
    settings: TeacherConfig,
    data: Dataset,
    cache: Path,
    output: Path,
    report: Report,
) -> dict[str, int]:
    train, least = data.train, settings.annotations.least
    sources = pool_sources(
        cache,
        data.queries,
        # Not the validation queries: their close relatives would make them easier than a query of
        # tomorrow.
        [*train.texts, *data.pool],
        [*train.texts, *data.validation.texts],
        data.test.texts,
        vars(settings.pool),
        report,
    )
    assert teacher.out_of_fold_scores is not None
    annotations = [Annotations("labelled", train.ids, train.texts, teacher.out_of_fold_scores)]
    for source in sources:
        texts = list(source.texts.values())
        scores = sp.vstack(list(teacher.score_texts(texts, source.name)), format="csr")
        annotations.append(Annotations(source.name, list(source.texts), texts, scores))
    about = {
        "least": least,
        "teacher": teacher.key,
        "data": data.sums,
        "packages": {
            package.file: package.sha256
            for package in (PYSERINI, *MPNET_PARTS, MINILM, GLOVE, BRANDS)
        },
    }
    kept = [
        Annotations(part.source, part.ids, part.texts, _at_least(part.scores, least))
        for part in annotations
    ]
    write_annotations(output, kept, [label.code for label in data.taxonomy], about)
    return {part.source: len(part.ids) for part in annotations}


def fit_teacher(
    settings: TeacherConfig,
    data: Dataset,
    cache: Path,
    report: Report,
) -> Teacher:
    """The fitted teacher."""
    teacher = make_teacher(settings, data, cache, report)
    teacher.fit()
    return teacher


def make_teacher(settings: TeacherConfig, data: Dataset, cache: Path, report: Report) -> Teacher:
    """The unfitted teacher; its key names settings, what it learns from and encoders."""
    packages = [package.sha256 for package in (*MPNET_PARTS, MINILM)]
    key = settings.key(data.sums["taxonomy"], _labels_sum(data.train), packages)
    return Teacher(settings, data.taxonomy, data.train, key, cache, report)


def _labels_sum(queries: LabelledQueries) -> str:
    # Not of the label files: the validation queries may be labelled anew, nothing learns from them.
    digest = hashlib.sha256("\n".join(queries.texts).encode())
    digest.update(np.packbits(queries.gold).tobytes())
    return digest.hexdigest()


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
