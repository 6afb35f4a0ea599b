"""Small models of both encodings for the fuzz targets, with made-up weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from topiccore import Taxonomy, TaxonomyLabel, TopicModel, compact
from topiccore._scoring import features
from topiccore.artifact import Artifact, build_index

WORDS = ["a", "b", "c", "ab", "used", "honda", "1", "é", "ß", "東", "京", "🚗", "가", "ﷺ", "x2"]
PAIRS = ["a b", "b a", "a a", "used honda", "東 京", "1 1", "🚗 🚗"]
LABELS = 70


def make() -> list[TopicModel]:
    """A float32 model and two sparse8 ones, the second pruned to sparse records."""
    words = np.unique(features(WORDS)[1])
    pairs = np.unique(np.concatenate([features([pair])[1][2:] for pair in PAIRS]))
    index, plain_rows, scaled_rows = build_index(words, np.union1d(words[::2], pairs))
    random = np.random.default_rng(7)
    rows = random.normal(0, 2, (len(plain_rows) + len(scaled_rows), LABELS)).astype(np.float32)
    taxonomy = Taxonomy(
        [
            TaxonomyLabel(f"L{i}", f"Label {i}", None if i % 7 == 0 else f"L{i - i % 7}")
            for i in range(LABELS)
        ]
    )
    artifact = Artifact(
        taxonomy=taxonomy,
        index=index,
        rows=rows,
        bias=random.normal(-2, 1, LABELS).astype(np.float32),
        thresholds=random.normal(0, 1, LABELS).astype(np.float32),
        slopes=random.uniform(0.5, 2, LABELS).astype(np.float32),
        intercepts=random.normal(0, 1, LABELS).astype(np.float32),
    )
    context = random.normal(0, 0.5, (3, LABELS)).astype(np.float32)
    bends = random.uniform([[-3], [-0.9]], [[1], [3]], (2, LABELS)).astype(np.float32)
    beside = artifact.thresholds + random.choice([0, 1, np.inf], LABELS)
    weighed = replace(artifact, context=context, bends=bends, beside=beside.astype(np.float32))
    kinds = (artifact, compact(weighed, prune=0), compact(weighed, prune=3))
    return [TopicModel(kind) for kind in kinds]
