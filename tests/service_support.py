"""A tiny artifact for the tests of the service: two topics, two subtopics, a dozen words."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from topiccore import Taxonomy, TaxonomyLabel
from topiccore._scoring import hash_tokens
from topiccore.artifact import Artifact, build_index, save

LABELS = [
    TaxonomyLabel("V", "Vehicles", None),
    TaxonomyLabel("V1", "Cars", "V"),
    TaxonomyLabel("F", "Food", None),
    TaxonomyLabel("F1", "Crème brûlée", "F"),
]
WORDS = {"honda": "V1", "civic": "V1", "truck": "V", "soup": "F", "crème": "F1", "custard": "F1"}


def save_tiny_artifact(path: Path) -> str:
    """Writes the artifact and returns its id; each word of ``WORDS`` brings its label."""
    codes = [label.code for label in LABELS]
    buckets = hash_tokens(WORDS)
    index, places, _ = build_index(buckets, np.array([], np.uint32))
    rows = np.zeros((len(WORDS), len(LABELS)), np.float32)
    for place, code in zip(places, WORDS.values(), strict=True):
        rows[place, codes.index(code)] = 8.0
    labels = len(LABELS)
    return save(
        Artifact(
            taxonomy=Taxonomy(LABELS),
            index=index,
            rows=rows,
            bias=np.full(labels, -4.0, np.float32),
            thresholds=np.zeros(labels, np.float32),
            slopes=np.ones(labels, np.float32),
            intercepts=np.zeros(labels, np.float32),
            training={"precision": 0.9, "coverage": float("nan")},
            data={"collection": "hand-made"},
        ),
        path,
    )
