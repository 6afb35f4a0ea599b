"""``TopicModel``: what users of a loaded artifact call."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topiccore import artifact as artifact_module
from topiccore._scoring import Answer, JsonWriter, Kernel, features, tokenize
from topiccore.arrow import ArrowAnswers, score_columns
from topiccore.artifact import Artifact
from topiccore.errors import ArtifactError
from topiccore.reference import (
    CONTEXT,
    beside_best,
    context,
    find_rows,
    in_context_of,
    ngram_features,
    scale,
    score_at,
)
from topiccore.taxonomy import Taxonomy


@dataclass(frozen=True, slots=True)
class FeatureShare:
    """One feature's part in a logit.

    ``text`` is a token, two neighbours with a blank, or ``word (ngram)``: a character n-gram of a
    word without a row, where ``<`` and ``>`` are its ends.
    """

    text: str
    share: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a label has its score.

    ``logit`` is ``bias`` plus the shares of all features; ``context_logit`` is ``logit`` plus the
    shares of the query's other labels, and what ``threshold`` is compared with.  ``threshold`` is
    the one that holds for this query: a label of another topic than the query's best has another.
    """

    code: str
    name: str
    score: float
    logit: float
    context_logit: float
    threshold: float
    bias: float
    shares: tuple[FeatureShare, ...]
    context: tuple[FeatureShare, ...]
    """``text`` is ``family`` (of a topic its best subtopic, of a subtopic its topic), ``sibling``
    (the best other subtopic of the topic) or ``rival`` (the best label of any other topic)."""
    unknown: tuple[str, ...]
    """The tokens of the query that the model has no row for."""


class TopicModel:
    """A loaded artifact, ready to score.  Immutable: threads may share it.

    It pickles as the path and id of its artifact, so that other processes map the same files.
    """

    def __init__(self, artifact: Artifact):
        self._artifact = artifact
        self._kernel = Kernel(
            artifact.index.groups,
            artifact.index.keys,
            artifact.index.entries,
            artifact.rows,
            artifact.encoding,
            artifact.bias,
            artifact.thresholds,
            artifact.array("beside"),
            artifact.slopes,
            artifact.intercepts,
            artifact.bends,
            artifact.context,
            artifact.taxonomy.parents,
            [(label.code, label.name) for label in artifact.taxonomy],
            artifact.ngrams,
        )
        self._codes = tuple(label.code for label in artifact.taxonomy)

    @property
    def id(self) -> str:
        """The artifact's id, 64 hex digits."""
        return self._artifact.id

    @property
    def artifact(self) -> Artifact:
        """The arrays behind the model."""
        return self._artifact

    @property
    def taxonomy(self) -> Taxonomy:
        """The labels, in the order of ``logits``."""
        return self._artifact.taxonomy

    @property
    def training(self) -> dict[str, Any]:
        """The figures of the training run that made the artifact."""
        return dict(self._artifact.training)

    def score(
        self,
        query: str | bytes,
        *,
        min_score: float | None = None,
        max_labels: int | None = None,
    ) -> Answer:
        """The labels a query is about, best first: a list of ``EmittedLabel``.

        Args:
            query: text, or UTF-8 bytes (bytes that are not UTF-8 separate tokens).
            min_score: emit the labels whose score reaches this, in [0, 1], instead of those that
                reach their own thresholds.
            max_labels: return only so many of the best, 0 or more.

        The answer's ``truncated`` is true when the query has more than ``MAX_TOKENS`` tokens, of
        which only the first were scored; ``tokens`` is how many were, ``unknown`` how many of them
        the model has no row for.  Raises ``QueryTypeError``, ``QueryTooLongError`` (above
        ``MAX_QUERY_BYTES``), and ``ValueError`` for an argument out of range.
        """
        if min_score is None and max_labels is None:
            return self._kernel.score(query, -1.0, -1)
        return self._kernel.score(query, *_checked(min_score, max_labels))

    def score_batch(
        self,
        queries: Iterable[str | bytes],
        *,
        min_score: float | None = None,
        max_labels: int | None = None,
    ) -> list[Answer]:
        """``score`` for each query, in order; errors name the position of the query."""
        _refuse_single(queries)
        return self._kernel.score_batch(queries, *_checked(min_score, max_labels))

    def score_arrow(
        self,
        queries: Any,
        *,
        min_score: float | None = None,
        max_labels: int | None = None,
        threads: int = 1,
    ) -> ArrowAnswers:
        """``score`` for each row of an Arrow column of strings, without making Python strings.

        Args:
            queries: an Arrow array or chunked array of strings or UTF-8 bytes (of any library with
                the Arrow PyCapsule interface; string, large_string or string_view).
            min_score: as in ``score``.
            max_labels: as in ``score``.
            threads: how many threads share the rows, 1 or more.

        The answers have the bits that ``score`` gives; a null's is empty.  Raises ``TypeError`` for
        what is no such column, and as ``score``, naming the position of the query.
        """
        if threads < 1:
            raise ValueError(f"threads is {threads}, below 1")
        floor, limit = _checked(min_score, max_labels)
        return score_columns(self._kernel, queries, self._codes, floor, limit, threads)

    def json_writer(
        self, start: bytes, openings: Iterable[bytes], endings: tuple[bytes, bytes]
    ) -> JsonWriter:
        """Writes answers as JSON in the kernel, for servers: see ``JsonWriter``."""
        return JsonWriter(self._kernel, start, openings, endings)

    def logits(self, queries: Iterable[str | bytes]) -> NDArray[np.float32]:
        """float32 [queries, labels]: the logit of every label of the taxonomy for each query."""
        _refuse_single(queries)
        return self._kernel.logits(queries)

    def explain(self, query: str | bytes, codes: Iterable[str] | None = None) -> list[Explanation]:
        """Bias and each feature's share of the logit, for given labels or for the emitted ones.

        Raises ``KeyError`` for a code that the taxonomy does not have, else as ``score``.
        """
        answer = self.score(query)
        tokens, _ = tokenize(query)
        texts = tokens + [f"{a} {b}" for a, b in pairwise(tokens)]
        buckets = features([query])[1].tolist()
        parts = ngram_features(self._artifact, query)
        texts += [f"{word} ({ngram})" for word, ngram, _ in parts]
        buckets += [bucket for _, _, bucket in parts]
        found = [find_rows(self._artifact, bucket) for bucket in buckets]
        value = float(scale(len(tokens)))
        logits = self._kernel.logits([query])[0]
        others = context(logits, self.taxonomy)
        in_context = in_context_of(logits, others, self._artifact.context)
        thresholds = np.where(
            beside_best(logits, self.taxonomy),
            self._artifact.array("beside"),
            self._artifact.thresholds,
        )
        emitted = {label.code: label.score for label in answer}
        unknown = tuple(
            token
            for token, (plain, scaled) in zip(tokens, found, strict=False)
            if plain is None and scaled is None
        )
        explanations = []
        for code in emitted if codes is None else codes:
            place = self.taxonomy.index_of(code)
            shares = []
            for text, (plain, scaled) in zip(texts, found, strict=True):
                if plain is None and scaled is None:
                    continue
                share = 0.0 if plain is None else float(plain[place])
                share += 0.0 if scaled is None else value * float(scaled[place])
                shares.append(FeatureShare(text, share))
            shares.sort(key=lambda share: -abs(share.share))
            explanations.append(
                Explanation(
                    code=code,
                    name=self.taxonomy[place].name,
                    score=emitted.get(
                        code, score_at(self._artifact, place, float(in_context[place]))
                    ),
                    logit=float(logits[place]),
                    context_logit=float(in_context[place]),
                    threshold=float(thresholds[place]),
                    bias=float(self._artifact.bias[place]),
                    shares=tuple(shares),
                    context=tuple(
                        FeatureShare(kind, float(weight[place]) * float(value[place]))
                        for kind, weight, value in zip(
                            CONTEXT, self._artifact.context, others, strict=True
                        )
                        if weight[place]
                    ),
                    unknown=unknown,
                )
            )
        return explanations

    def __reduce__(self) -> tuple[Any, ...]:
        if self._artifact.path is None:
            raise TypeError("only a model that was loaded from a path can be pickled")
        return _load_same, (str(self._artifact.path), self.id)

    def __repr__(self) -> str:
        return (
            f"<TopicModel {self.id[:12]}: {len(self.taxonomy)} labels, "
            f"{len(self._artifact.index.keys)} features>"
        )


PRETRAINED = Path(__file__).resolve().parent / "pretrained"
"""The artifact that comes with the package, in builds that have one."""


def default_model() -> Path:
    """What commands use when no artifact is named: the package's, or that of ``make demo``."""
    return PRETRAINED if PRETRAINED.exists() else Path("runs/demo/artifact")


def load(path: Path | str | None = None, *, verify: bool = True) -> TopicModel:
    """The model of an artifact directory; without a path, the one that comes with the package.

    ``verify=False`` skips only the checksums.  Raises ``ArtifactError`` when the artifact is
    missing, truncated, edited, foreign or of another format, naming the file and what is wrong.
    """
    if path is None and not PRETRAINED.exists():
        raise ArtifactError(
            "this installation comes without a model: train one with 'topiccore train' and name "
            "its folder, as in topiccore.load('runs/demo/artifact')"
        )
    return TopicModel(artifact_module.load(PRETRAINED if path is None else path, verify=verify))


def _load_same(path: str, identity: str) -> TopicModel:
    model = load(path, verify=False)
    if model.id != identity:
        raise ArtifactError(f"{path}: holds {model.id[:12]} now, not {identity[:12]}")
    return model


def _checked(min_score: float | None, max_labels: int | None) -> tuple[float, int]:
    if min_score is not None and not 0 <= min_score <= 1:
        raise ValueError(f"min_score is {min_score}, not in [0, 1]")
    if max_labels is not None and max_labels < 0:
        raise ValueError(f"max_labels is {max_labels}, below 0")
    return (
        -1.0 if min_score is None else float(min_score),
        -1 if max_labels is None else min(int(max_labels), sys.maxsize),
    )


def _refuse_single(queries: object) -> None:
    if isinstance(queries, (str, bytes)):
        raise TypeError("queries is one query; give a list of queries, or use score")
