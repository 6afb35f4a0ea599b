"""The artifact: a directory with a JSON manifest and flat little-endian arrays, one ``.npy`` each.

    manifest.json     format, scheme, encoding, n-gram lengths, labels, array table, training
                      figures, data, id
    groups.npy        uint32  [65537]        where the features of each 2**16 buckets begin in keys
    keys.npy          uint16  [features]     lower halves of the features' buckets, ascending
    entries.npy       uint32  [features (+ 1)]  where a feature's rows stand, as the encoding says
    rows.npy          the label weights of features, as the encoding says
    bias.npy          float32 [labels]
    context.npy       float32 [3, labels]    weights of what a query's other labels say: the family,
                                             the best sibling, the best rival (topiccore.reference)
    thresholds.npy    float32 [labels]       on logits in context; +inf: the label is never emitted
    beside.npy        float32 [labels]       the same, at least as high, for labels of other topics
                                             than the query's best
    slopes.npy        float32 [labels]       calibration: score = sigmoid(bent(slope * logit in
    intercepts.npy    float32 [labels]       context + intercept)), where
    bends.npy         float32 [2, labels]    bent(x) = x - steepness * (knee - x) below the knee;
                                             knees, then how much steeper it is below them

A feature is a word, a pair of neighbours or a character n-gram; n-grams, of the lengths that
``ngrams`` names (0 and 0: none), stand in for words without a row.

A feature has a plain row, a scaled row (which counts times 1/sqrt(tokens)) or both.  Encodings:

``float32``
    rows is float32 [rows, labels]; an entry is ``row << 2 | flags``, flags 1 plain and 2 scaled;
    where a feature has both, the scaled row stands behind the plain one.
``sparse8``
    rows is uint16 [cells]; the rows of feature ``i`` are the records in cells ``entries[i]`` up to
    ``entries[i + 1]``.  A record is a head ``count << 2 | dense << 1 | scaled``, a step (bfloat16)
    and ``count`` cells.  Sparse: each cell steps ``cell & 255`` labels ahead (from label 0) and
    adds ``step * int8(cell >> 8)`` there.  Dense: int8 values of all labels, two to a cell.

The ``id`` is the SHA-256 of the manifest without it; the manifest has the SHA-256 of every array.
Arrays are mapped, not read: all processes of a machine share one copy.  Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topiccore.errors import ArtifactError
from topiccore.reference import GROUPS, PLAIN, SCALED, SCHEME
from topiccore.taxonomy import Taxonomy, TaxonomyLabel

FORMAT = "topiccore-artifact"
FORMAT_VERSION = 4
MANIFEST = "manifest.json"
ROW_TYPES = {"float32": "<f4", "sparse8": "<u2"}
"""The encodings and the type of their rows."""
ARRAYS = (
    *("groups", "keys", "entries", "rows", "bias"),
    *("context", "thresholds", "beside", "slopes", "intercepts", "bends"),
)
_TYPES = {"groups": "<u4", "keys": "<u2", "entries": "<u4"}
_HEADER_BYTES = 128
_LONGEST_NGRAM, _NGRAM_LENGTHS = 16, 4
_KEYS = {
    *("format", "format_version", "id", "scheme", "encoding", "ngrams"),
    *("labels", "arrays", "training", "data"),
}


def dtypes(encoding: str) -> dict[str, str]:
    """The type of each array of an artifact with that encoding."""
    return {name: _TYPES.get(name, "<f4") for name in ARRAYS} | {"rows": ROW_TYPES[encoding]}


@dataclass(frozen=True)
class Index:
    """Which features there are and where their rows stand: the module's table."""

    groups: NDArray[np.uint32]
    keys: NDArray[np.uint16]
    entries: NDArray[np.uint32]

    def buckets(self) -> NDArray[np.uint32]:
        """The bucket of each feature, ascending, uint32 [features]; made anew by each call."""
        group = np.repeat(np.arange(GROUPS, dtype=np.uint32), np.diff(self.groups))
        return group << np.uint32(16) | self.keys


@dataclass(frozen=True)
class Artifact:
    """A model as flat arrays; shapes and meanings are those of the module's table.

    Training makes one of encoding ``float32``; ``topiccore.compact`` makes a small one of that.
    """

    taxonomy: Taxonomy
    index: Index
    rows: NDArray[Any]
    bias: NDArray[np.float32]
    thresholds: NDArray[np.float32]
    slopes: NDArray[np.float32]
    intercepts: NDArray[np.float32]
    context: NDArray[np.float32] = field(default_factory=lambda: np.zeros((3, 0), np.float32))
    """Left out: zeros, a label's logit stands by itself."""
    bends: NDArray[np.float32] = field(default_factory=lambda: np.zeros((2, 0), np.float32))
    """Left out: zeros, the calibration is straight."""
    beside: NDArray[np.float32] | None = None
    """Left out: the thresholds, whatever the query's best topic."""
    training: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    encoding: str = "float32"
    ngrams: tuple[int, int] = (0, 0)
    """The shortest and the longest n-gram of words without a row, at most 4 lengths up to 16."""
    id: str = ""
    """64 hex digits; empty until the artifact is saved."""
    path: Path | None = None

    def __post_init__(self) -> None:
        for name in ("context", "bends"):
            given = getattr(self, name)
            if not given.shape[1]:
                zeros = np.zeros((len(given), len(self.taxonomy)), np.float32)
                object.__setattr__(self, name, zeros)

    def array(self, name: str) -> NDArray[Any]:
        """One of ``ARRAYS`` by its name."""
        if name == "beside" and self.beside is None:
            return self.thresholds
        owner = self.index if name in _TYPES else self
        values: NDArray[Any] = getattr(owner, name)
        return values


def group_keys(buckets: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
    """The ``groups`` and ``keys`` of sorted buckets."""
    starts = np.arange(GROUPS + 1, dtype=np.uint64) << 16
    groups = np.searchsorted(buckets.astype(np.uint64), starts).astype(np.uint32)
    return groups, (buckets & 0xFFFF).astype(np.uint16)


def build_index(
    plain: NDArray[np.uint32], scaled: NDArray[np.uint32]
) -> tuple[Index, NDArray[np.int64], NDArray[np.int64]]:
    """Lays out the float32 rows of buckets with plain rows and of buckets with scaled rows.

    Returns ``(index, plain_rows, scaled_rows)``: for each given bucket its row.  Raises
    ``ValueError`` when a bucket is given twice in one list.
    """
    for name, buckets in (("plain", plain), ("scaled", scaled)):
        if len(np.unique(buckets)) != len(buckets):
            raise ValueError(f"a bucket stands twice in {name}")
    together = np.union1d(plain, scaled)
    flags = np.where(np.isin(together, plain), PLAIN, 0)
    flags |= np.where(np.isin(together, scaled), SCALED, 0)
    sizes = (flags & 1) + (flags >> 1)
    first = np.cumsum(sizes) - sizes
    index = Index(*group_keys(together), (first << 2 | flags).astype(np.uint32))
    plain_rows = first[np.searchsorted(together, plain)]
    place = np.searchsorted(together, scaled)
    return index, plain_rows, first[place] + (flags[place] & PLAIN)


def save(artifact: Artifact, path: Path | str, *, overwrite: bool = False) -> str:
    """Writes an artifact directory, whole or not at all, and returns its id.

    Raises ``ArtifactError`` when the arrays do not fit together, or when ``path`` exists and
    ``overwrite`` is false or it holds something other than an artifact.
    """
    path = Path(path)
    if path.exists() and not (overwrite and (path / MANIFEST).is_file()):
        raise ArtifactError(f"{path}: exists" + (" and is no artifact" if overwrite else ""))
    types = dtypes(artifact.encoding)
    arrays = {
        name: np.ascontiguousarray(artifact.array(name), dtype=types[name]) for name in ARRAYS
    }
    _check_arrays(arrays, artifact.encoding, len(artifact.taxonomy), path)
    if not _are_ngrams(list(artifact.ngrams)):
        raise ArtifactError(f"{path}: ngrams are {artifact.ngrams}")
    if artifact.encoding == "float32" and not np.isfinite(arrays["rows"]).all():
        raise ArtifactError(f"{path}: rows are not all finite")
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    try:
        table = {}
        for name, values in arrays.items():
            _write_array(folder / f"{name}.npy", values)
            table[name] = {
                "file": f"{name}.npy",
                "dtype": types[name],
                "shape": list(values.shape),
                "bytes": (folder / f"{name}.npy").stat().st_size,
                "sha256": _sha256(folder / f"{name}.npy"),
            }
        manifest: dict[str, Any] = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "scheme": SCHEME,
            "encoding": artifact.encoding,
            "ngrams": list(artifact.ngrams),
            "labels": [
                {"code": x.code, "name": x.name, "topic": x.topic, "scope": x.scope}
                for x in artifact.taxonomy
            ],
            "arrays": table,
            "training": dict(artifact.training),
            "data": dict(artifact.data),
        }
        manifest["id"] = _manifest_id(manifest)
        (folder / MANIFEST).write_text(
            json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        folder.chmod(0o755)
        _move_into_place(folder, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return str(manifest["id"])


def _move_into_place(folder: Path, path: Path) -> None:
    if not path.exists():
        os.rename(folder, path)
        return
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-old-"))
    kept = old / "replaced"
    try:
        os.rename(path, kept)
        try:
            os.rename(folder, path)
        except BaseException:
            os.rename(kept, path)
            raise
    except BaseException:
        if not kept.exists():
            old.rmdir()
        raise
    shutil.rmtree(old)


def load(path: Path | str, *, verify: bool = True) -> Artifact:
    """Maps an artifact directory after every check; ``verify=False`` skips only the checksums.

    Raises ``ArtifactError`` that names the file and what is wrong with it.
    """
    if sys.byteorder != "little":  # pragma: no cover
        raise ArtifactError("artifacts are little-endian; this machine is not")
    path = Path(path)
    manifest = _read_manifest(path)
    try:
        taxonomy = Taxonomy([TaxonomyLabel(**label) for label in manifest["labels"]])
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"{path / MANIFEST}: labels: {error}") from error
    table = manifest["arrays"]
    if not isinstance(table, dict) or set(table) != set(ARRAYS):
        raise ArtifactError(f"{path / MANIFEST}: arrays are not {', '.join(ARRAYS)}")
    encoding = manifest["encoding"]
    arrays = {
        name: _map_array(path, name, dtype, table[name], verify)
        for name, dtype in dtypes(encoding).items()
    }
    _check_arrays(arrays, encoding, len(taxonomy), path)
    return Artifact(
        taxonomy=taxonomy,
        index=Index(*(arrays.pop(name) for name in _TYPES)),
        encoding=encoding,
        ngrams=tuple(manifest["ngrams"]),
        training=manifest["training"],
        data=manifest["data"],
        id=manifest["id"],
        path=path.absolute(),
        **arrays,
    )


def _read_manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        message = f"{file}: {error.strerror}; is {path} an artifact?"
        if not path.exists():
            message += " Train one with 'topiccore train', or give another by --model"
        raise ArtifactError(message) from error
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{file}: not UTF-8: {error}") from error
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{file}: not JSON: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ArtifactError(f"{file}: not the manifest of a topiccore artifact")
    for key in ("training", "data"):
        if not isinstance(manifest.get(key, {}), dict):
            raise ArtifactError(f"{file}: {key} is no JSON object")
    for key, known in (
        ("format_version", [FORMAT_VERSION]),
        ("scheme", [SCHEME]),
        ("encoding", list(ROW_TYPES)),
    ):
        if manifest.get(key) not in known:
            raise ArtifactError(
                f"{file}: {key} is {manifest.get(key)!r}; this topiccore reads "
                + " and ".join(map(repr, known))
            )
    if set(manifest) != _KEYS:
        odd = ", ".join(sorted(set(manifest) ^ _KEYS))
        raise ArtifactError(f"{file}: missing or unknown keys: {odd}")
    if not _are_ngrams(manifest["ngrams"]):
        raise ArtifactError(f"{file}: ngrams is {manifest['ngrams']!r}")
    try:
        identity = _manifest_id(manifest)
    except RecursionError as error:
        raise ArtifactError(f"{file}: not JSON that can be written again: {error}") from error
    if manifest["id"] != identity:
        raise ArtifactError(f"{file}: edited: its content does not have the id it states")
    return manifest


def _are_ngrams(value: Any) -> bool:
    if not isinstance(value, list) or [type(x) for x in value] != [int, int]:
        return False
    shortest, longest = value
    return value == [0, 0] or 1 <= shortest <= longest <= min(
        _LONGEST_NGRAM, shortest + _NGRAM_LENGTHS - 1
    )


def _manifest_id(manifest: dict[str, Any]) -> str:
    content = {key: value for key, value in manifest.items() if key != "id"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """The first bytes of a ``.npy`` file of version 1.0, C order.

    Written here, since ``numpy.save`` has changed its padding between releases, and the bytes
    count in the artifact's id.
    """
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    return b"\x93NUMPY\x01\x00\x76\x00" + text.ljust(_HEADER_BYTES - 11).encode() + b"\n"


def _write_array(file: Path, values: NDArray[Any]) -> None:
    with file.open("wb") as stream:
        stream.write(_npy_header(values.dtype.str, values.shape))
        stream.write(values.data)


def _map_array(path: Path, name: str, dtype: str, entry: Any, verify: bool) -> NDArray[Any]:
    file = path / f"{name}.npy"
    if not isinstance(entry, dict) or entry.get("file") != file.name:
        raise ArtifactError(f"{path / MANIFEST}: arrays.{name}.file is not {file.name!r}")
    if entry.get("dtype") != dtype:
        raise ArtifactError(f"{file}: dtype is {entry.get('dtype')}, expected {dtype}")
    shape = entry.get("shape")
    if not isinstance(shape, list) or not all(type(x) is int and x >= 0 for x in shape):
        raise ArtifactError(f"{file}: shape is {shape} in the manifest")
    header = _npy_header(dtype, tuple(shape))
    expected = len(header) + math.prod(shape) * np.dtype(dtype).itemsize
    try:
        with file.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size != entry.get("bytes"):
                raise ArtifactError(f"{file}: {size} bytes, the manifest says {entry.get('bytes')}")
            if verify and hashlib.file_digest(stream, "sha256").hexdigest() != entry.get("sha256"):
                raise ArtifactError(f"{file}: its SHA-256 is not the one in the manifest")
            stream.seek(0)
            if len(header) != _HEADER_BYTES or size != expected or stream.read(128) != header:
                raise ArtifactError(f"{file}: no .npy of {dtype} {shape} in C order")
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise ArtifactError(f"{file}: {error}") from error
    return np.ndarray(tuple(shape), dtype, buffer=mapped, offset=_HEADER_BYTES)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_arrays(
    arrays: Mapping[str, NDArray[Any]], encoding: str, labels: int, path: Path
) -> None:
    def refuse(name: str, what: str) -> ArtifactError:
        return ArtifactError(f"{path / name}.npy: {what}")

    for name in ("bias", "thresholds", "beside", "slopes", "intercepts"):
        values = arrays[name]
        if values.shape != (labels,):
            raise refuse(name, f"shape {values.shape} for {labels} labels")
        if name == "thresholds":
            good = ~np.isnan(values)
        elif name == "beside":
            good = values >= arrays["thresholds"]
        else:
            good = np.isfinite(values)
        if name == "slopes":
            good &= values > 0
        if not good.all():
            place = int(np.argmin(good))
            raise refuse(name, f"value {values[place]} at {place}")
    for name, height in (("context", 3), ("bends", 2)):
        values = arrays[name]
        if values.shape != (height, labels):
            raise refuse(name, f"shape {values.shape} for {labels} labels")
        if not np.isfinite(values).all():
            raise refuse(name, "its values are not all finite")
    if labels and arrays["bends"][1].min() <= -1:
        raise refuse("bends", "scores would fall where logits rise")
    groups, keys, entries, rows = (arrays[name] for name in ARRAYS[:4])
    if groups.shape != (GROUPS + 1,):
        raise refuse("groups", f"shape {groups.shape}, expected ({GROUPS + 1},)")
    if keys.ndim != 1:
        raise refuse("keys", f"shape {keys.shape} has not one dimension")
    if groups[0] != 0 or groups[-1] != len(keys) or (groups[1:] < groups[:-1]).any():
        raise refuse("groups", "it does not divide keys.npy")
    if encoding == "float32":
        if rows.ndim != 2 or rows.shape[1] != labels:
            raise refuse("rows", f"shape {rows.shape} for {labels} labels")
        if entries.shape != keys.shape:
            raise refuse("entries", f"shape {entries.shape} for {len(keys)} features")
        sizes = (entries & PLAIN) + ((entries & SCALED) >> 1)
        ends = (entries >> 2).astype(np.int64) + sizes
        if not sizes.all() or sizes.sum() != len(rows) or ends.max(initial=0) > len(rows):
            raise refuse("entries", "its rows are not those of rows.npy")
    else:
        if rows.ndim != 1:
            raise refuse("rows", f"shape {rows.shape} has not one dimension")
        if entries.shape != (len(keys) + 1,):
            raise refuse("entries", f"shape {entries.shape} for {len(keys)} features")
        if entries[0] != 0 or entries[-1] != len(rows) or (entries[1:] < entries[:-1]).any():
            raise refuse("entries", "it does not divide rows.npy")
