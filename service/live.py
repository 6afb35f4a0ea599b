"""The model that answers now, with all that can be written before the first query comes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, Protocol

import topiccore
from service.answer_counts import AnswerCounts
from service.comparer import Comparer
from service.encoding import encode
from topiccore import TaxonomyLabel, TopicModel, reference
from topiccore._scoring import JsonWriter
from topiccore.artifact import FORMAT_VERSION, Artifact
from topiccore.reference import SCHEME

MODEL_HEADER = "x-topiccore-model"
WARM_UP_QUERY = "used car"
START = '{"topics":['
"""How the answer to one query begins."""


class Second(Protocol):
    """A second artifact beside the one that answers."""

    def choose(self, live: LoadedModel, environ: dict[str, Any], request_id: str) -> LoadedModel:
        """What answers a request, and is compared on it."""

    def comparison(self) -> dict[str, Any]:
        """What ``GET /v1/comparison`` gives."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model and the parts of its answers that are the same for every query."""

    model: TopicModel
    openings: dict[str, str]
    """For each code the JSON of its label up to the score."""
    endings: tuple[str, str]
    """The end of an answer to one query that was not, and that was, truncated."""
    writer: JsonWriter
    """Writes the whole answer to a query without options."""
    topics: frozenset[str]
    """The codes of the labels that are topics."""
    header: tuple[str, str]
    description: bytes
    taxonomy: bytes
    counts: AnswerCounts | None = field(default=None, compare=False)
    comparer: Comparer | None = field(default=None, compare=False)
    """What scores the same queries with another artifact."""
    second: Second | None = field(default=None, compare=False)


class LiveModel:
    """Holds the current model; a request reads ``current`` once, at its start."""

    __slots__ = ("current",)

    def __init__(self, current: LoadedModel):
        self.current = current


def prepare(model: TopicModel, counts: AnswerCounts | None = None) -> LoadedModel:
    """Writes what every answer of the model has in common."""
    # ASCII with escapes: a name with a lone surrogate cannot break an answer.
    openings = {
        label.code: '{"code":%s,"name":%s,"score":'  # noqa: UP031
        % (json.dumps(label.code), json.dumps(label.name))
        for label in model.taxonomy
    }
    whole, truncated = (f'],"truncated":{cut},"model":"{model.id}"}}' for cut in ("false", "true"))
    return LoadedModel(
        model=model,
        openings=openings,
        endings=(whole, truncated),
        writer=model.json_writer(
            START.encode(),
            [opening.encode() for opening in openings.values()],
            (whole.encode(), truncated.encode()),
        ),
        topics=frozenset(label.code for label in model.taxonomy.topics),
        header=(MODEL_HEADER, model.id),
        description=_description(model),
        taxonomy=_taxonomy(model),
        counts=counts,
    )


def _description(model: TopicModel) -> bytes:
    content = {
        "id": model.id,
        "labels": len(model.taxonomy),
        "topics": len(model.taxonomy.topics),
        "format_version": FORMAT_VERSION,
        "scheme": SCHEME,
        "encoding": model.artifact.encoding,
        "training": dict(model.training),
        "data": dict(model.artifact.data),
        "topiccore_version": topiccore.__version__,
    }
    # A figure that is NaN in the manifest becomes null.
    return encode(json.loads(json.dumps(content), parse_constant=lambda _: None))


def _taxonomy(model: TopicModel) -> bytes:
    def told(label: TaxonomyLabel) -> dict[str, Any]:
        place = model.taxonomy.index_of(label.code)
        threshold = score_at(model.artifact, place, float(model.artifact.thresholds[place]))
        return {
            "code": label.code,
            "name": label.name,
            "scope": label.scope,
            "threshold": threshold,
        }

    topics = [
        told(topic) | {"subtopics": [told(label) for label in model.taxonomy.subtopics(topic.code)]}
        for topic in model.taxonomy.topics
    ]
    return encode({"topics": topics, "model": model.id})


def score_at(artifact: Artifact, place: int, logit: float) -> float | None:
    """The calibrated score of a label's logit, to four digits; ``None`` of an infinite one."""
    if math.isinf(logit):
        return None
    return round(reference.score_at(artifact, place, logit), 4)
