"""The gates of a promotion: whether the artifact is sound, as good as the current one, as fast."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import topiccore
from registry.baseline import Baseline
from registry.latency import Bounds, judge, score_alternately
from registry.measured_on import doubts, named_files
from registry.quality import Outcome, not_measured, of_figures, of_queries
from registry.queries import QuerySource, label_texts
from topiccore import TopicModel
from topiccore.errors import ArtifactError

WARM_UP_QUERIES = ("used car", "", "cheap flights to new york", "東京 ホテル", "\x00" * 64)


@dataclass(frozen=True, slots=True)
class Gate:
    """What one gate found: ``state`` is "passed", "failed" or "skipped", ``text`` says why."""

    name: str
    state: str
    text: str
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether the version must not be promoted without a reason."""
        return self.state == "failed"

    def as_json(self) -> dict[str, Any]:
        """The gate as it stands in histories."""
        return asdict(self)


@dataclass(frozen=True)
class Limits:
    """How much worse a version may be.

    ``margin``: how far precision and coverage may fall, in [0, 1], as long as the fall is within
    what chance does.  ``ratio``: of its time per query to the current one's.  ``reason``: why they
    are looser than these, or the queries others than the test queries of both versions.
    """

    margin: float = 0.005
    ratio: float = 1.25
    rounds: int = 25
    reason: str | None = None

    def looser(self) -> list[str]:
        """Which of them let more pass than the defaults do; texts."""
        pairs = (
            ("--margin", self.margin, Limits.margin),
            ("--latency-ratio", self.ratio, Limits.ratio),
        )
        # One that is no number lets everything pass.
        return [
            f"{name} {one:g} (default: {usual:g})" for name, one, usual in pairs if not one <= usual
        ]

    def as_json(self) -> dict[str, Any]:
        """The limits as they stand in histories."""
        return {"margin": self.margin, "latency_ratio": self.ratio, "reason": self.reason}


def check_artifact(path: Path, identity: str) -> tuple[Gate, TopicModel | None]:
    """Loads a version with all its checksums and has it answer; the model where it does."""

    def failed(text: str) -> tuple[Gate, None]:
        return Gate("artifact", "failed", text), None

    try:
        model = topiccore.load(path)
    except ArtifactError as error:
        return failed(str(error))
    if model.id != identity:
        return failed(f"{path}: holds {model.id}")
    try:
        for query in WARM_UP_QUERIES:
            for label in model.score(query, min_score=0.0):
                if not 0 <= label.score <= 1:
                    return failed(f"{path}: scores {query!r} {label.score} on {label.code}")
    except Exception as error:
        return failed(f"{path}: does not answer: {type(error).__name__}: {error}")
    emitted = int(np.isfinite(model.artifact.thresholds).sum())
    if not emitted:
        return failed(f"{path}: can emit no label: all its thresholds are infinite")
    found = {"labels": len(model.taxonomy), "labels_emitted": emitted}
    text = f"loads, checksums right, answers; {emitted} of {len(model.taxonomy)} labels emitted"
    return Gate("artifact", "passed", text, found), model


def run_gates(
    path: Path,
    identity: str,
    baseline: Baseline,
    source: QuerySource,
    limits: Limits,
    tell: Callable[[str], None],
) -> list[Gate]:
    """All gates of the version in ``path``, which must not be worse than the baseline.

    The gates behind one that leaves no model to measure are skipped.  Raises ``TopiccoreError``
    for queries that the user names and that cannot be read.
    """
    tell("artifact: loading and asking")
    sound, model = check_artifact(path, identity)
    if model is None:
        return [sound, *_unmeasured("skipped", "the artifact does not work")]
    if baseline.identity is None:
        return [sound, *_unmeasured("skipped", "there is no version to compare with")]
    if identity == baseline.served:
        return [sound, *_unmeasured("skipped", "it is the version that is served")]
    if identity == baseline.identity:
        why = "not measured: it would be compared with itself"
        return [sound, *_unmeasured("failed", why + _because(baseline))]
    previous = baseline.model
    if previous is None:
        why = "not measured: no version to compare with loads"
        return [sound, *_unmeasured("failed", why + _because(baseline))]
    if baseline.remark:
        tell(f"compared with the earlier version {previous.id[:12]}{_because(baseline)}")
    queries, remark = source.labelled(model, tell)
    if queries is not None:
        tell(f"quality: both versions on {len(queries)} labelled queries")
        quality = of_queries(model, previous, queries, limits.margin)
        quality = _told_of_files(quality, source, len(queries), (model, previous), limits.reason)
    elif source.figures_only:
        quality = of_figures(model, previous, limits.margin, remark)
    else:
        quality = not_measured(remark)
    state, text, figures = quality
    if baseline.remark:
        text += f"; against the earlier version {previous.id[:12]}{_because(baseline)}"
    texts = label_texts(model) if queries is None else queries.texts
    tell(f"latency: both versions in turns, {limits.rounds} rounds")
    return [sound, Gate("quality", state, text, figures), _latency(model, previous, texts, limits)]


def _told_of_files(
    quality: Outcome,
    source: QuerySource,
    queries: int,
    models: Sequence[TopicModel],
    reason: str | None,
) -> Outcome:
    state, text, figures = quality
    files = named_files(source.files())
    figures = figures | {"files": files}
    doubted = doubts(files, queries, models) if source.named else ""
    if not doubted:
        return state, text, figures
    told = f"{', '.join(file['name'] for file in files)}: {doubted}"
    if reason is None:
        return "failed", f"{told}; that needs --limits-reason REASON; {text}", figures
    return state, f"{text}; {told}", figures


def _because(baseline: Baseline) -> str:
    return f", because {baseline.remark}" if baseline.remark else ""


def _unmeasured(state: str, why: str) -> list[Gate]:
    return [Gate(name, state, why) for name in ("quality", "latency")]


def _latency(model: TopicModel, previous: TopicModel, texts: Sequence[str], limits: Limits) -> Gate:
    ours, theirs = score_alternately(model, previous, texts, limits.rounds)
    found = judge(ours, theirs, Bounds(limits.ratio))
    figures = {
        "queries": len(texts),
        "rounds": limits.rounds,
        "microseconds": round(1e6 * found.ours, 3),
        "microseconds_against": round(1e6 * found.theirs, 3),
        "ratio": round(found.ratio, 3),
        "interval": [round(found.low, 3), round(found.high, 3)],
        "largest": limits.ratio,
    }
    text = (
        f"{1e6 * found.ours:.1f} µs a query against {1e6 * found.theirs:.1f}: ratio "
        f"{found.ratio:.2f} [{found.low:.2f}, {found.high:.2f}], at most {limits.ratio:g}"
    )
    assert math.isfinite(found.ratio)
    return Gate("latency", "failed" if found.failed else "passed", text, figures)
