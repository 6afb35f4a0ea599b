"""The stages of a run, each a function from earlier stages' files to its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import topiccore
from topiccore.artifact import Artifact, Index, save
from topiccore.compaction import compact
from topiccore.model import PRETRAINED
from training.bounded_counts import count_bounded
from training.calibration import calibrate, cross_fitted_scores
from training.config import Config
from training.dataset import Dataset, load_dataset
from training.errors import ConfigError
from training.examples import (
    Examples,
    StreamedExamples,
    annotated_examples,
    labelled_examples,
)
from training.export import fold
from training.features import MOST_WORDS, QueryFeatures, choose_buckets
from training.glove import load_glove
from training.importance import importance
from training.previous import PREVIOUS, keeping_previous
from training.quality import expected_shares, measure, quality_table
from training.report.brief import brief
from training.report.curves import CURVES, read_curves
from training.report.figures import figures
from training.report.write import write_report
from training.run_folder import RunFolder
from training.stored_examples import StoredExamples
from training.student import MultiLabelLogisticRegression
from training.student_scores import learning_curve
from training.thresholds import MIN_VALIDATION, choose_thresholds
from training.vectors import train_vectors
from training.word_table import choose_vocabulary, count_words, make_word_table

ARTIFACT = "artifact"
LEAST = 0.01
"""What a weight must count to stay, even where there is room: without it the loss over all texts
would grow by 0.00005."""


class Run:
    """What the stages share: settings, folder, data (read when first needed) and reporting."""

    def __init__(
        self,
        config: Config,
        folder: RunFolder,
        cache: Path,
        report: Callable[[str], None],
        show: Callable[[str], None],
    ):
        self.config = config
        self.folder = folder
        self.cache = cache
        self.report = report
        self.show = show

    @cached_property
    def data(self) -> Dataset:
        """The labelled queries and the pool."""
        return load_dataset(self.config, self.cache, self.report)

    @cached_property
    def features(self) -> QueryFeatures:
        """The student's columns, from the training queries and the word vectors of this run."""
        settings, words = self.config.student, self.config.words
        vectors = self.folder.load_arrays("vectors")
        own = [str(word) for word in vectors["words"].tolist()]
        vectors_of = [(own, vectors["rows"])]
        glove: list[str] = []
        if words.glove_words:
            glove, glove_rows = load_glove(self.cache, self.report)
            vectors_of.append((glove, glove_rows))
        counted = count_words(self.data.train.texts)
        vocabulary = choose_vocabulary(
            [*counted, *self._example_words(), *count_words(self.data.pool)],
            glove[: words.glove_words],
        )
        table = make_word_table(
            vocabulary,
            counted,
            (words.ngram_shortest, words.ngram_longest),
            words.ngram_min_count,
            vectors_of,
            words.vector_length,
        )
        kept = choose_buckets(
            self.examples.text_batches(), settings.min_count_words, settings.min_count_bigrams
        )
        return QueryFeatures(*kept, table)

    def _example_words(self) -> list[str]:
        counts = count_bounded(count_words(texts) for texts in self.examples.text_batches())
        if len(counts) <= MOST_WORDS:
            return list(counts)
        return [word for word, _ in counts.most_common(MOST_WORDS)]

    @cached_property
    def examples(self) -> Examples | StreamedExamples:
        """What the student learns from."""
        memory, paths = self._examples_in_memory(), self.config.annotated_texts()
        if not paths:
            return memory
        held_out = frozenset([*self.data.validation.texts, *self.data.test.texts])
        codes = tuple(label.code for label in self.data.taxonomy)
        weight = self.config.annotations.texts_weight
        stored = StoredExamples(tuple(paths), codes, weight, held_out, self.report)
        self.report(
            f"{len(stored)} annotated texts in {len(paths)} files; {stored.totals.held_out} more "
            "are validation or test texts and left out"
        )
        return StreamedExamples(memory, stored)

    def _examples_in_memory(self) -> Examples:
        file = self.config.annotation_file()
        if file is None:
            return labelled_examples(self.data)
        if not self.data.queries:
            raise ConfigError(
                f"annotations.file is {file}: annotations are of the built-in collections; "
                'for other data it is ""'
            )
        return annotated_examples(self.data, file, self.config.annotations, self.cache, self.report)

    def estimator(self) -> MultiLabelLogisticRegression:
        """A student that has not learned yet."""
        settings = self.config.student
        return MultiLabelLogisticRegression(
            epochs=settings.epochs,
            batch=settings.batch,
            learning_rate=settings.learning_rate,
            dense_learning_rate=settings.vector_learning_rate,
            dense_features=self.features.dimensions,
            l2=settings.l2,
            smoothing=settings.smoothing,
            seed=self.config.seed,
            report=lambda line: self.report(f"student: {line}"),
        )

    def learned(
        self, examples: Examples | StreamedExamples, *, quiet: bool = False
    ) -> MultiLabelLogisticRegression:
        """A student that has learned the examples; ``quiet``: without a line for each epoch.

        Its weights of bigrams are multiplied by ``bigram_scale``: what is seen seldom is learned
        too timidly beside the words it consists of.
        """
        estimator = self.estimator()
        if quiet:
            estimator.report = None
        estimator.fit_stream(
            examples.chunks(self.features, self.config.seed),
            len(examples),
            examples.occurrences(self.features),
            examples.prior(),
        )
        estimator.coef_[:, self.features.bigram_columns] *= self.config.student.bigram_scale
        return estimator


def collections(run: Run) -> None:
    """Fetches and checks the queries, the labels and the taxonomy."""
    data = run.data
    run.report(
        f"{len(data.train)} training queries, {len(data.test)} test queries, "
        f"{len(data.pool)} unlabelled, {len(data.taxonomy)} labels"
    )


def vectors(run: Run) -> None:
    """Word vectors from the pool and the training queries -> ``vectors.npz``."""
    texts = run.data.pool + run.data.train.texts
    words, rows = train_vectors(texts, run.config.vectors, run.config.seed, run.report)
    run.folder.save_arrays("vectors", {"words": np.array(words), "rows": rows})


def student(run: Run) -> None:
    """The student, folded into rows of label weights -> ``student.npz``."""
    examples, features = run.examples, run.features
    run.report(
        f"student: {len(examples)} examples, {len(features.table.words)} words, "
        f"{len(features.bigrams)} bigrams, {features.table.ngrams.shape[1]} n-grams, "
        f"{features.dimensions} vector dimensions"
    )
    estimator = run.learned(examples)
    index, rows = fold(estimator.coef_, features)
    run.folder.save_arrays(
        "student",
        {
            "groups": index.groups,
            "keys": index.keys,
            "entries": index.entries,
            "rows": rows,
            "bias": estimator.intercept_,
            "importance": importance(
                index,
                rows,
                estimator.intercept_,
                run.data.train.texts + run.data.pool,
                features.table.ngram_lengths,
            ),
        },
    )


def thresholds(run: Run) -> None:
    """Calibration and thresholds from the validation queries -> ``thresholds.npz``."""
    data = run.data
    gold = data.validation.gold
    logits = topiccore.TopicModel(compact_artifact(run)).logits(data.validation.texts)
    calibration = calibrate(logits, gold, data.taxonomy)
    support = data.train.gold.sum(axis=0)
    chosen = choose_thresholds(
        logits,
        cross_fitted_scores(logits, gold, data.taxonomy, run.config.seed, MIN_VALIDATION),
        gold,
        support,
        calibration,
        data.taxonomy,
        run.config.thresholds,
        run.config.seed,
    )
    emitted = int(np.isfinite(chosen.logits).sum())
    cuts = ", ".join(
        f"{kind} from a score of {cut:.2f}"
        if np.isfinite(cut)
        else f"no {kind}, as no cut is shown to keep the precision"
        for kind, cut in chosen.cuts.items()
    )
    run.report(f"thresholds: {cuts}; {emitted} of {len(chosen.logits)} labels can be emitted")
    if not emitted:
        run.report(
            f"{len(data.validation)} validation queries are too few, or the student is too weak, "
            f"to show a precision of {run.config.thresholds.precision:.0%}: label more, lower the "
            "target, or score with --min-score"
        )
    run.folder.save_arrays(
        "thresholds",
        {
            "thresholds": chosen.logits,
            "beside": chosen.beside,
            **calibration.arrays(),
        },
    )


def trained_artifact(run: Run, chosen: dict[str, Any] | None = None) -> Artifact:
    """The student of a run as an artifact of float32 rows, not yet made compact."""
    return _artifact_of(run, run.folder.load_arrays("student"), chosen)


def compact_artifact(run: Run, chosen: dict[str, Any] | None = None) -> Artifact:
    """``trained_artifact``, made compact as it ships."""
    stored = run.folder.load_arrays("student")
    artifact = _artifact_of(run, stored, chosen)
    return compact(artifact, prune=LEAST, importance=stored["importance"])


def _artifact_of(run: Run, stored: dict[str, Any], chosen: dict[str, Any] | None) -> Artifact:
    # Before thresholds are chosen, nothing is emitted and scores are uncalibrated.
    labels = len(run.data.taxonomy)
    chosen = chosen or {
        "thresholds": np.full(labels, np.inf, np.float32),
        "slopes": np.ones(labels, np.float32),
        "intercepts": np.zeros(labels, np.float32),
    }
    words = run.config.words
    return Artifact(
        taxonomy=run.data.taxonomy,
        index=Index(*(stored[name] for name in ("groups", "keys", "entries"))),
        rows=stored["rows"],
        bias=stored["bias"],
        ngrams=(words.ngram_shortest, words.ngram_longest),
        **chosen,
    )


def export(run: Run) -> None:
    """The artifact, measured on the test queries -> ``artifact/``; the old one -> ``previous/``."""
    chosen = run.folder.load_arrays("thresholds")
    never = [
        label.code
        for label, value in zip(run.data.taxonomy, chosen["thresholds"].tolist(), strict=True)
        if value == float("inf")
    ]
    small = compact_artifact(run, chosen)
    model = topiccore.TopicModel(small)
    training = {
        "seed": run.config.seed,
        "settings": {
            name: run.config.section(name)
            for name in ("vectors", "words", "annotations", "student", "thresholds")
        },
        "quality": measure(model, run.data.test) if len(run.data.test) else {},
        "labels_never_emitted": never,
        **(brief(model, run.data.test) if len(run.data.test) else {}),
        "expected": expected_shares(model, run.data.validation.texts),
    }
    data = {
        "sha256": run.data.sums,
        "labelled_queries": len(run.data.train),
        "validation_queries": len(run.data.validation),
        "examples": len(run.examples),
    }
    described = replace(small, training=training | dict(small.training), data=data)
    with keeping_previous(run.folder.path / ARTIFACT):
        identity = save(described, run.folder.path / ARTIFACT, overwrite=True)
    run.report(f"artifact {identity[:12]} in {run.folder.path / ARTIFACT}")


def evaluate(run: Run) -> None:
    """Scores the test queries with the saved artifact -> ``evaluation.json`` and a table."""
    model = topiccore.load(run.folder.path / ARTIFACT)
    if not len(run.data.test):
        run.folder.save_json("evaluation", {"model": model.id})
        run.report("there are no test queries to measure on: data.test names no file")
        return
    figures = measure(model, run.data.test)
    run.folder.save_json("evaluation", {"model": model.id, **figures})
    run.show(quality_table(figures))


def report(run: Run) -> None:
    """The model report -> ``report.html``, ``report.json``."""
    points = list(learning_curve(run)) if run.config.report.learning_curve else []
    model = topiccore.load(run.folder.path / ARTIFACT)
    others = read_curves(CURVES, run.data.sums["test"]) if run.data.queries else {}
    found = figures(model, run.data, others, points, _to_compare_with(run, model))
    path = write_report(run.folder.path, found)
    run.report(f"report in {path}")


def _to_compare_with(run: Run, model: topiccore.TopicModel) -> topiccore.TopicModel | None:
    # What this run had before, else what the package has, if it knows the same labels.
    for path in (run.folder.path / PREVIOUS, PRETRAINED):
        if path.exists():
            other = topiccore.load(path)
            if list(other.taxonomy) == list(model.taxonomy):
                return other
    return None


@dataclass(frozen=True, slots=True)
class Stage:
    """A function, the settings (or sections) it hangs on and the stages it reads from.

    ``files`` are always there after it, ``kept`` only after it ran more than once.
    """

    run: Callable[[Run], None]
    settings: tuple[str, ...]
    after: tuple[str, ...]
    files: tuple[str, ...]
    kept: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name on the command line."""
        return self.run.__name__

    @property
    def help(self) -> str:
        """One line."""
        return (self.run.__doc__ or "").split("\n", 1)[0]


STAGES = (
    Stage(collections, ("data",), (), ()),
    Stage(vectors, ("vectors",), ("collections",), ("vectors.npz",)),
    Stage(student, ("words", "annotations", "student"), ("vectors",), ("student.npz",)),
    Stage(thresholds, ("thresholds",), ("student",), ("thresholds.npz",)),
    Stage(export, (), ("student", "thresholds"), (f"{ARTIFACT}/manifest.json",), (PREVIOUS,)),
    Stage(report, ("report",), ("vectors", "export"), ("report.html", "report.json")),
    Stage(evaluate, (), ("export",), ("evaluation.json",)),
)


def stages_before(stage: Stage) -> Iterator[Stage]:
    """The stages that ``stage`` reads from, directly."""
    yield from (other for other in STAGES if other.name in stage.after)
