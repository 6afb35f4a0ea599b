"""What the peers are trained on: the labelled queries and, if wanted, the teacher's annotations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.collection import tell
from training.collections import default_cache
from training.config import DEFAULT, read_config
from training.dataset import Dataset
from training.examples import annotated_examples, labelled_examples
from training.packages import file_sha256


def training_set(
    dataset: Dataset, annotations: Path | None = None
) -> tuple[list[str], NDArray[np.float32], dict[str, str]]:
    """Texts, targets (float32 [queries, labels], probabilities) and the SHA-256 of each source.

    With ``annotations``, an annotation file: what the student learns from, all counted once.
    """
    # The validation queries are held out of the training ones: they too decide what is learned.
    sums = {name: dataset.sums[name] for name in ("taxonomy", "train", "validation")}
    if annotations is None:
        examples = labelled_examples(dataset)
    else:
        sums["annotations"] = file_sha256(annotations)
        settings = read_config(DEFAULT).annotations
        examples = annotated_examples(dataset, annotations, settings, default_cache(), tell)
    return list(examples.texts), examples.targets.toarray().astype(np.float32), sums
