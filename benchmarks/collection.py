"""The labelled queries, as the training pipeline reads them."""

from __future__ import annotations

import sys

from training.collections import default_cache
from training.config import DEFAULT, read_config
from training.dataset import Dataset, load_dataset


def tell(line: str) -> None:
    """Progress, on standard error, so that standard output is only results."""
    print(line, file=sys.stderr, flush=True)


def labelled() -> Dataset:
    """The default taxonomy, training and test queries; fetches the collections when needed."""
    return load_dataset(read_config(DEFAULT), default_cache(), tell)
