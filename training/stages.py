"""The stages of a run, each a function from earlier stages' files to its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, cpu_count, delayed
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

import topiccore
from topiccore.artifact import Artifact, save
from training.calibration import calibrate
from training.config import Config
from training.dataset import Dataset, load_dataset
from training.errors import TrainingError
from training.export import fold
from training.features import QueryFeatures, choose_buckets
from training.quality import measure, quality_table
from training.run_folder import RunFolder
from training.student import MultiLabelLogisticRegression
from training.thresholds import choose_thresholds
from training.vectors import WordVectors, train_vectors

ARTIFACT = "artifact"


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
        vectors = self.folder.load_arrays("vectors")
        student = self.config.student
        words, bigrams = choose_buckets(
            self.data.train.texts, student.min_count_words, student.min_count_bigrams
        )
        return QueryFeatures(words, bigrams, WordVectors(vectors["buckets"], vectors["rows"]))

    def estimator(self, report: Callable[[str], None] | None = None) -> Any:
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
            report=report,
        )


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
    found = train_vectors(texts, run.config.vectors, run.config.seed, run.report)
    run.folder.save_arrays("vectors", {"buckets": found.buckets, "rows": found.rows})


def student(run: Run) -> None:
    """The student from all training queries -> ``student.npz``."""
    train = run.data.train
    estimator = run.estimator(lambda line: run.report(f"student: {line}"))
    # One thread: the order of sums, and with it the artifact's id, must not hang on the machine.
    with threadpool_limits(1):
        estimator.fit(run.features.transform(train.texts), train.gold)
    run.folder.save_arrays("student", {"coef": estimator.coef_, "intercept": estimator.intercept_})


def folds(run: Run) -> None:
    """Out-of-fold logits of the training queries -> ``folds.npz``."""
    train = run.data.train
    count = run.config.thresholds.folds
    if len(train) < count:
        raise TrainingError(
            f"{run.config.path('train')}: {len(train)} queries do not make "
            f"thresholds.folds = {count} folds"
        )
    matrix = run.features.transform(train.texts)
    fold_of = np.random.default_rng(run.config.seed).permutation(len(train)) % count
    logits = np.zeros(train.gold.shape, np.float32)
    parts = Parallel(n_jobs=min(count, cpu_count()), return_as="generator")(
        delayed(_fold_logits)(run.estimator(), matrix, train.gold, fold_of == number)
        for number in range(count)
    )
    for number, part in enumerate(parts):
        logits[fold_of == number] = part
        run.report(f"out-of-fold scores: {number + 1}/{count}")
    run.folder.save_arrays("folds", {"logits": logits})


def _fold_logits(
    estimator: Any, matrix: csr_matrix, gold: NDArray[np.bool_], held_out: NDArray[np.bool_]
) -> NDArray[np.float32]:
    with threadpool_limits(1):
        estimator.fit(matrix[~held_out], gold[~held_out])
        logits: NDArray[np.float32] = estimator.decision_function(matrix[held_out])
    return logits


def thresholds(run: Run) -> None:
    """Calibration and thresholds from the out-of-fold logits -> ``thresholds.npz``."""
    train = run.data.train
    logits = run.folder.load_arrays("folds")["logits"]
    calibration = calibrate(logits, train.gold)
    chosen = choose_thresholds(
        logits, train.gold, calibration, run.data.taxonomy, run.config.thresholds, run.config.seed
    )
    emitted = int(np.isfinite(chosen.logits).sum())
    cuts = ", ".join(
        f"{level} from a score of {cut:.2f}"
        if np.isfinite(cut)
        else f"no {level}, as no cut is shown to keep the precision"
        for level, cut in chosen.cuts.items()
    )
    run.report(f"thresholds: {cuts}; {emitted} of {len(chosen.logits)} labels can be emitted")
    run.folder.save_arrays(
        "thresholds",
        {
            "thresholds": chosen.logits,
            "support": chosen.support,
            "slopes": calibration.slopes,
            "intercepts": calibration.intercepts,
        },
    )


def export(run: Run) -> None:
    """Folds all of it into the artifact, measures it on the test queries, saves it."""
    stored, chosen = run.folder.load_arrays("student"), run.folder.load_arrays("thresholds")
    index, rows = fold(stored["coef"], run.features)
    artifact = Artifact(
        taxonomy=run.data.taxonomy,
        index=index,
        rows=rows,
        bias=stored["intercept"],
        thresholds=chosen["thresholds"],
        slopes=chosen["slopes"],
        intercepts=chosen["intercepts"],
    )
    figures = measure(topiccore.TopicModel(artifact), run.data.test)
    described = Artifact(
        **{name: getattr(artifact, name) for name in artifact.__dataclass_fields__}
        | {
            "training": {
                "seed": run.config.seed,
                "settings": {
                    name: run.config.section(name) for name in ("vectors", "student", "thresholds")
                },
                "quality": figures,
                "labels_never_emitted": [
                    label.code
                    for label, value in zip(
                        run.data.taxonomy, chosen["thresholds"].tolist(), strict=True
                    )
                    if value == float("inf")
                ],
            },
            "data": {"sha256": run.data.sums, "training_queries": len(run.data.train)},
        }
    )
    identity = save(described, run.folder.path / ARTIFACT, overwrite=True)
    run.report(f"artifact {identity[:12]} in {run.folder.path / ARTIFACT}")


def evaluate(run: Run) -> None:
    """Scores the test queries with the saved artifact -> ``evaluation.json`` and a table."""
    model = topiccore.load(run.folder.path / ARTIFACT)
    figures = measure(model, run.data.test)
    run.folder.save_json("evaluation", {"model": model.id, **figures})
    run.show(quality_table(figures))


@dataclass(frozen=True, slots=True)
class Stage:
    """A function, the settings (or sections) it hangs on and the stages it reads from."""

    run: Callable[[Run], None]
    settings: tuple[str, ...]
    after: tuple[str, ...]
    files: tuple[str, ...]

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
    Stage(student, ("student",), ("vectors",), ("student.npz",)),
    Stage(folds, ("student", "thresholds.folds"), ("vectors",), ("folds.npz",)),
    Stage(thresholds, ("thresholds",), ("folds",), ("thresholds.npz",)),
    Stage(export, (), ("vectors", "student", "thresholds"), (f"{ARTIFACT}/manifest.json",)),
    Stage(evaluate, (), ("export",), ("evaluation.json",)),
)


def stages_before(stage: Stage) -> Iterator[Stage]:
    """The stages that ``stage`` reads from, directly."""
    yield from (other for other in STAGES if other.name in stage.after)
