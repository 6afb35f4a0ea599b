"""The teacher: slow, precise, made of networks that a stacker joins into calibrated scores.

Every member is trained once per fold, on the other folds: the stacker learns from logits of
queries that the member has not seen, and labelled queries get scores nothing leaked into.  A new
text gets the mean logits of the fold's networks.  Each trained network and each member's
out-of-fold logits are kept, so an interrupted run goes on where it was.
"""

from __future__ import annotations

import copy
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from topiccore.taxonomy import Taxonomy
from training.encoder import EncodedQueries, QueryEncoder, parts
from training.errors import TrainingError
from training.files import replacing
from training.labels import LabelledQueries
from training.members import Dense, FineTuned, Member, Ngrams
from training.stacker import Neighbours, Stacker
from training.teacher_config import TeacherConfig

Report = Callable[[str], None]
MEMBERS = ("ngrams", "dense", "fine_tuned")


class Teacher:
    """Fits on labelled queries; ``out_of_fold`` scores them, ``score`` any texts.

    ``key`` names the settings and the data: what is kept under it in the cache folder is only used
    for the same.
    """

    def __init__(
        self,
        config: TeacherConfig,
        taxonomy: Taxonomy,
        labelled: LabelledQueries,
        key: str,
        cache: Path,
        report: Report,
    ):
        self.config = config
        self.taxonomy = taxonomy
        self.labelled = labelled
        self.key = key
        self.folder = cache / "teacher" / key
        self.report = report
        # One thread: the result is then fixed by the seed, and short queries gain nothing by more.
        torch.set_num_threads(1)
        self.names = MEMBERS
        self.encoder = QueryEncoder(cache, report)
        self.folds = _folds(len(labelled), config.folds, config.seed)
        self.members: dict[str, list[Member]] = {}
        self.neighbours: Neighbours | None = None
        self.stacker = Stacker(config.stacker, taxonomy, labelled.gold.mean(axis=0))
        self.out_of_fold_scores: sp.csr_matrix | None = None
        self._executor: Executor | None = None

    @property
    def is_kept(self) -> bool:
        """Whether ``fit`` has nothing to train."""
        return (self.folder / "stacker.pickle").exists()

    def fit(self) -> None:
        """Trains what is not kept yet; sets ``out_of_fold_scores``, CSR [labelled, labels]."""
        queries = self.encoder.all(self.labelled.texts, "labelled queries")
        logits = [self._fit_member(name, queries) for name in self.names]
        self.neighbours = Neighbours(
            queries.vectors[:, :768], self.labelled.gold, self.config.stacker.neighbours
        )
        path = self.folder / "stacker.pickle"
        if not path.exists():
            self.report("stacker: votes of the neighbours")
            votes = self.neighbours.votes(queries.vectors[:, :768], first=0)
            pairs = self.stacker.pairs(logits, votes, self.labelled.texts)
            self.report(f"stacker: {len(pairs.rows)} pairs of a query and a label")
            folds = _folds(len(self.labelled), self.config.stacker.folds, self.config.seed + 1)
            scores = self.stacker.out_of_fold(pairs, self.labelled.gold, folds)
            self.stacker.fit(pairs, self.labelled.gold)
            _keep(path, (self.stacker.model, scores))
        self.stacker.model, self.out_of_fold_scores = _kept(path)

    def member_logits(self, name: str) -> NDArray[np.float32]:
        """A member's out-of-fold logits, float32 [labelled, labels]; after ``fit``."""
        return _logits(self.folder / f"{name}-out-of-fold.npy")

    def score(self, queries: EncodedQueries) -> sp.csr_matrix:
        """float32 CSR [queries, labels]: probabilities of the likely labels; after ``fit``."""
        if self.neighbours is None:
            raise ValueError("the teacher is not fitted")
        logits = [
            np.mean([member.logits(queries) for member in self._members(name)], axis=0)
            for name in self.names
        ]
        votes = self.neighbours.votes(queries.vectors[:, :768])
        return self.stacker.scores(self.stacker.pairs(logits, votes, queries.texts), len(queries))

    def score_texts(self, texts: list[str], what: str) -> Iterator[sp.csr_matrix]:
        """``score`` of the texts, chunk by chunk; finished chunks are kept and not made again."""
        chunks = list(parts(texts))
        made: Iterator[bool] = map(self._keep_scores, chunks)
        if self._executor is not None:
            made = self._executor.map(_keep_scores, chunks)
        done = 0
        for part, is_new in zip(chunks, made, strict=True):
            done += len(part)
            if is_new:
                self.report(f"annotating {what}: {done}/{len(texts)}")
            yield sp.load_npz(self._scores_path(part)).tocsr()

    @contextmanager
    def workers(self, processes: int) -> Iterator[None]:
        """While it lasts, ``score_texts`` shares the chunks among so many processes; after ``fit``.

        Each of them holds all networks, about 3 GB.  The scores are the same.  Raises
        ``TrainingError`` when one of them is lost.
        """
        if processes < 2:
            yield
            return
        bare = copy.copy(self)
        bare.report, bare.members, bare.encoder = quiet, {}, self.encoder.unloaded(quiet)
        executor = ProcessPoolExecutor(processes, get_context("spawn"), _take_over, (bare,))
        self._executor = executor
        try:
            yield
        except BrokenProcessPool as error:
            raise TrainingError(
                "a process that annotates was lost, perhaps for want of memory; what is finished "
                "is kept: run again, with fewer --processes"
            ) from error
        finally:
            self._executor = None
            executor.shutdown(cancel_futures=True)

    def _scores_path(self, part: list[str]) -> Path:
        return self.folder / "scores" / f"{self.encoder.key(part)}.npz"

    def _keep_scores(self, part: list[str]) -> bool:
        # Whether they had to be made.
        path = self._scores_path(part)
        if path.exists():
            return False
        scores = self.score(self.encoder.encode(part))
        with replacing(path) as partial, partial.open("wb") as stream:
            sp.save_npz(stream, scores)
        return True

    def _fit_member(self, name: str, queries: EncodedQueries) -> NDArray[np.float32]:
        path = self.folder / f"{name}-out-of-fold.npy"
        if not path.exists():
            result = np.zeros((len(queries), len(self.taxonomy)), np.float16)
            for fold in range(self.config.folds):
                member = self._fitted(name, fold, queries)
                rows = np.flatnonzero(self.folds == fold)
                result[rows] = member.logits(_part(queries, rows))
            with replacing(path) as partial, partial.open("wb") as stream:
                np.save(stream, result)
        return _logits(path)

    def _fitted(self, name: str, fold: int, queries: EncodedQueries) -> Member:
        member = self._new(name, fold)
        path = self.folder / f"{name}-{fold}.pickle"
        if path.exists():
            member.restore(_kept(path))
        else:
            self.report(f"{member.name}: fold {fold + 1}/{self.config.folds}")
            member.fit(queries, self.labelled.gold, np.flatnonzero(self.folds != fold))
            _keep(path, member.state())
        return member

    def _members(self, name: str) -> list[Member]:
        if name not in self.members:
            members = [self._new(name, fold) for fold in range(self.config.folds)]
            for fold, member in enumerate(members):
                member.restore(_kept(self.folder / f"{name}-{fold}.pickle"))
            self.members[name] = members
        return self.members[name]

    def _new(self, name: str, fold: int) -> Member:
        labels, seed = len(self.taxonomy), self.config.seed * 1000 + fold
        if name == "fine_tuned":
            folder = self.encoder.mpnet_folder
            return FineTuned(self.config.fine_tuned, labels, seed, folder, self.report)
        if name == "dense":
            return Dense(self.config.dense, labels, seed, self.report)
        return Ngrams(self.config.ngrams, labels, seed, self.report)


_of_this_worker: Teacher | None = None


def _take_over(teacher: Teacher) -> None:
    global _of_this_worker
    torch.set_num_threads(1)
    # Ctrl-C reaches all of them: without a traceback each.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _of_this_worker = teacher


def _end_with_parent() -> None:
    # Else a worker would wait for more forever when its parent is killed.
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _keep_scores(part: list[str]) -> bool:
    assert _of_this_worker is not None
    return _of_this_worker._keep_scores(part)


def quiet(line: str) -> None:
    """The report of worker processes, which tell nothing: there is one report for all of them."""


def _folds(queries: int, folds: int, seed: int) -> NDArray[np.int64]:
    return np.random.default_rng(seed).permutation(queries) % folds


def _part(queries: EncodedQueries, rows: NDArray[np.int64]) -> EncodedQueries:
    lengths = queries.lengths[rows]
    tokens = [queries.hidden[queries.offsets[row] : queries.offsets[row + 1]] for row in rows]
    return EncodedQueries(
        [queries.texts[row] for row in rows],
        queries.vectors[rows],
        np.concatenate(tokens),
        np.concatenate([[0], np.cumsum(lengths)]),
    )


def _logits(path: Path) -> NDArray[np.float32]:
    return np.asarray(np.load(path), dtype=np.float32)


def _keep(path: Path, value: Any) -> None:
    with replacing(path) as partial, partial.open("wb") as stream:
        pickle.dump(value, stream)


def _kept(path: Path) -> Any:
    with path.open("rb") as stream:
        return pickle.load(stream)
