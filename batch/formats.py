"""File formats by the ending of a name: ``queries.csv.gz`` is CSV, compressed with gzip."""

from __future__ import annotations

from dataclasses import dataclass

from batch.errors import BatchError

_KINDS = {
    "parquet": "parquet",
    "pq": "parquet",
    "csv": "csv",
    "tsv": "tsv",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "json": "jsonl",
    "txt": "txt",
}
_COMPRESSIONS = {"gz": "gzip", "zst": "zstd"}
_COMPRESSED = {*_COMPRESSIONS, "bz2", "xz", "lz4", "zstd", "snappy", "br", "zip", "7z"}
OUTPUT_KINDS = ("parquet", "jsonl", "tsv")


@dataclass(frozen=True, slots=True)
class Format:
    """``kind`` is parquet, csv, tsv, jsonl or txt; ``compression`` gzip, zstd or ``None``."""

    kind: str
    compression: str | None = None


def of_ending(text: str) -> Format | None:
    """The format that ``"csv"``, ``"csv.gz"`` and the like name; ``None`` for any other text."""
    kind, _, compression = text.partition(".")
    if kind not in _KINDS or (compression and compression not in _COMPRESSIONS):
        return None
    if compression and _KINDS[kind] == "parquet":
        return None
    return Format(_KINDS[kind], _COMPRESSIONS[compression] if compression else None)


def of_name(name: str) -> Format | None:
    """The format that the ending of a file's name tells; ``None`` for an unknown one."""
    *_, last = name.split("/")
    parts = last.lower().lstrip(".").split(".")[1:]
    compressed = len(parts) > 1 and parts[-1] in _COMPRESSIONS
    return of_ending(".".join(parts[-2 if compressed else -1 :])) if parts else None


def is_like_a_file(name: str) -> bool:
    """Whether the name has an ending that a file has, of a format of ours, compressed or not."""
    *_, last = name.lower().split("/")
    endings = last.lstrip(".").split(".")[1:]
    return bool(endings) and (
        endings[-1] in _COMPRESSED or not _KINDS.keys().isdisjoint(endings[-2:])
    )


def stem(name: str) -> str:
    """The name without the ending that tells its format."""
    found = of_name(name)
    if found is None:
        return name
    return name.rsplit(".", 1 if found.compression is None else 2)[0]


def chosen(text: str, *, output: bool) -> Format:
    """The format that a user names; raises ``BatchError`` with the list of those there are."""
    found = of_ending(text.lower())
    if found is None or (output and found.kind not in OUTPUT_KINDS):
        kinds = OUTPUT_KINDS if output else tuple(dict.fromkeys(_KINDS.values()))
        raise BatchError(
            f"no such format: {text!r}; there are {', '.join(kinds)}, all but parquet also "
            "compressed, with .gz or .zst behind"
        )
    return found
