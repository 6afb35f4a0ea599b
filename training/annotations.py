"""The annotation file: the teacher's soft labels for many queries, without their texts.

A zip archive (LZMA) that ``numpy.load`` or any zip program opens:

- ``header.json``: format, teacher id, label codes, sources with their parts and checksums,
- for each part (texts of one source whose ids share a prefix), NumPy arrays
  ``<source>/<prefix>/steps.npy`` (uint32 [texts], id numbers as differences, ascending),
  ``.../labels.npy`` (uint8 [texts], labels kept per text), ``.../codes.npy`` (uint16, positions
  in the header's labels, ascending within a text) and ``.../scores.npy`` (uint8),
- ``labelled/order.npy`` (uint32), the place of each labelled query among those that the teacher
  learned from: made queries depend on that order.

A score byte q stands for the logit ``LOGIT_LOW + q * LOGIT_STEP``: log-odds keep what matters to
a student near 0 and near 1 alike.  Labels with a score below ``least`` (header) are left out.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from training.errors import DataError
from training.files import replacing

FORMAT = "topiccore-annotations-1"
HEADER = "header.json"
LABELLED = "labelled"
"""The source of the queries that the teacher learned from."""
_ORDER = f"{LABELLED}/order"
LOGIT_LOW = -4.75
LOGIT_STEP = 0.05
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Annotations:
    """Soft labels of one source's texts.

    ``scores`` is float32 CSR [texts, labels], calibrated probabilities; a label that is not stored
    has a score below ``least``.
    """

    source: str
    ids: list[str]
    texts: list[str]
    scores: sp.csr_matrix


@dataclass(frozen=True)
class AnnotationFile:
    """What ``read_annotations`` returns: the sources by name, and the header as it stands."""

    sources: dict[str, Annotations]
    header: dict[str, Any]

    @property
    def least(self) -> float:
        """Labels with a lower score were not kept."""
        return float(self.header["least"])


def quantise(scores: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Scores in [0, 1] to bytes on the logit scale, uint8 of the same shape."""
    clipped = np.clip(scores.astype(np.float64), 1e-6, 1 - 1e-6)
    logits = np.log(clipped) - np.log1p(-clipped)
    return np.clip(np.rint((logits - LOGIT_LOW) / LOGIT_STEP), 0, 255).astype(np.uint8)


def dequantise(bytes_: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The scores that bytes of ``quantise`` stand for, float32 of the same shape."""
    return (1 / (1 + np.exp(-(LOGIT_LOW + bytes_.astype(np.float64) * LOGIT_STEP)))).astype(
        np.float32
    )


def write_annotations(
    path: Path, sources: Iterable[Annotations], codes: Sequence[str], about: Mapping[str, Any]
) -> None:
    """Writes the file, atomically; equal input gives equal bytes.

    ``about`` joins the header and holds at least ``least``, ``teacher`` and ``data`` (checksums).
    """
    header: dict[str, Any] = {
        "format": FORMAT,
        **about,
        "logit_low": LOGIT_LOW,
        "logit_step": LOGIT_STEP,
        "labels": list(codes),
        "sources": {},
    }
    with replacing(path) as partial, zipfile.ZipFile(partial, "w", zipfile.ZIP_LZMA) as archive:
        for source in sources:
            parts = _by_prefix(source.ids)
            header["sources"][source.source] = [
                _write_part(archive, source, prefix, rows) for prefix, rows in parts.items()
            ]
            if source.source == LABELLED:
                order = np.array([row for rows in parts.values() for _, row in rows], "<u4")
                _write_array(archive, _ORDER, order)
        _add(archive, HEADER, json.dumps(header, indent=1).encode())


def _by_prefix(ids: Sequence[str]) -> dict[str, list[tuple[int, int]]]:
    """(number, row) pairs by prefix, ascending by number."""
    parts: dict[str, list[tuple[int, int]]] = {}
    for row, identity in enumerate(ids):
        prefix, number = identity.rsplit(":", 1)
        parts.setdefault(prefix, []).append((int(number), row))
    return {prefix: sorted(rows) for prefix, rows in parts.items()}


def _write_part(
    archive: zipfile.ZipFile, source: Annotations, prefix: str, rows: list[tuple[int, int]]
) -> dict[str, Any]:
    numbers = np.array([number for number, _ in rows], dtype=np.int64)
    order = np.array([row for _, row in rows])
    part = source.scores[order].tocsr()
    part.sort_indices()
    folder = f"{source.source}/{prefix}"
    arrays = {
        "steps": np.diff(numbers, prepend=0).astype("<u4"),
        "labels": np.diff(part.indptr).astype("<u1"),
        "codes": part.indices.astype("<u2"),
        "scores": quantise(part.data),
    }
    for name, array in arrays.items():
        _write_array(archive, f"{folder}/{name}", array)
    return {
        "prefix": prefix,
        "texts": len(rows),
        "texts_sha256": texts_sha256(source.texts[row] for row in order.tolist()),
    }


def _write_array(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    with archive.open(_info(f"{name}.npy"), "w") as stream:
        np.lib.format.write_array(stream, array, allow_pickle=False)


def texts_sha256(texts: Iterable[str]) -> str:
    """SHA-256 over texts in UTF-8, each followed by a line feed."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\n")
    return digest.hexdigest()


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_LZMA
    return info


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(_info(name), data)


def read_header(path: Path) -> dict[str, Any]:
    """The header of an annotation file; raises ``DataError`` naming the file."""
    try:
        with zipfile.ZipFile(path) as archive:
            header: dict[str, Any] = json.loads(archive.read(HEADER))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not an annotation file: {error}") from error
    if header.get("format") != FORMAT:
        raise DataError(f"{path}: format is {header.get('format')!r}, expected {FORMAT!r}")
    return header


def annotated_ids(path: Path, sources: Iterable[str]) -> dict[str, list[str]]:
    """The ids of the texts that a file annotates, by source.

    Raises ``DataError`` naming the file when it is damaged or has no such source.
    """
    parts = read_header(path)["sources"]
    wanted = list(sources)
    if missing := sorted(name for name in wanted if name not in parts):
        raise DataError(f"{path}: no annotations of {missing[0]!r}")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {
                name: [
                    identity
                    for part in parts[name]
                    for identity in _ids(part["prefix"], arrays[f"{name}/{part['prefix']}/steps"])
                ]
                for name in wanted
            }
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: damaged: {error}") from error


def learned_ids(path: Path) -> list[str]:
    """The ids of the queries that the teacher learned from, in its order; raises ``DataError``."""
    identities = annotated_ids(path, [LABELLED])[LABELLED]
    try:
        with np.load(path, allow_pickle=False) as arrays:
            order = arrays[_ORDER]
        found = [identities[row] for row in np.argsort(order)]
    except (OSError, KeyError, ValueError, IndexError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: damaged: {error}") from error
    if len(found) != len(identities):
        raise DataError(f"{path}: {len(order)} places for {len(identities)} labelled queries")
    return found


def _ids(prefix: str, steps: NDArray[np.uint32]) -> list[str]:
    return [f"{prefix}:{number}" for number in np.cumsum(steps, dtype=np.int64)]


def read_annotations(
    path: Path, texts: Mapping[str, Mapping[str, str]], codes: Sequence[str]
) -> AnnotationFile:
    """Reads an annotation file and joins the texts.

    ``texts`` holds, for each source to read, its texts by id (``pool_texts``; the collections
    serve for ``logged`` and ``labelled``); sources that it does not name are skipped.  ``codes``
    are the taxonomy's label codes in order.

    Raises ``DataError`` naming the file and the part when an id is unknown, the texts are not
    those that were annotated, or the labels differ.
    """
    header = read_header(path)
    if header["labels"] != list(codes):
        raise DataError(f"{path}: its labels are not those of the taxonomy")
    if missing := texts.keys() - header["sources"].keys():
        raise DataError(f"{path}: no annotations of {sorted(missing)[0]!r}")
    sources = {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for name, known in texts.items():
                parts = header["sources"][name]
                sources[name] = _read_source(path, name, arrays, parts, known, len(codes))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: damaged: {error}") from error
    return AnnotationFile(sources, header)


def _read_source(
    path: Path,
    name: str,
    arrays: Any,
    parts: Sequence[Mapping[str, Any]],
    known: Mapping[str, str],
    labels: int,
) -> Annotations:
    ids: list[str] = []
    texts: list[str] = []
    rows = []
    for part in parts:
        folder = f"{name}/{part['prefix']}"
        steps, sizes, codes, scores = (
            arrays[f"{folder}/{array}"] for array in ("steps", "labels", "codes", "scores")
        )
        place = f"{path}: {folder}"
        if len(steps) != part["texts"] or len(sizes) != part["texts"]:
            raise DataError(f"{place}: {len(steps)} texts, the header says {part['texts']}")
        if len(codes) != len(scores) or len(codes) != int(sizes.sum()):
            raise DataError(f"{place}: labels and scores differ in number")
        if len(codes) and int(codes.max()) >= labels:
            raise DataError(f"{place}: a label number is out of range")
        part_ids = _ids(part["prefix"], steps)
        if unknown := next((identity for identity in part_ids if identity not in known), None):
            raise DataError(f"{place}: id {unknown} is in no collection")
        part_texts = [known[identity] for identity in part_ids]
        if texts_sha256(part_texts) != part["texts_sha256"]:
            raise DataError(f"{place}: the texts are not those that were annotated")
        indptr = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        rows.append(
            sp.csr_matrix(
                (dequantise(scores), codes.astype(np.int32), indptr), (len(steps), labels)
            )
        )
        ids += part_ids
        texts += part_texts
    return Annotations(name, ids, texts, sp.vstack(rows, format="csr"))
