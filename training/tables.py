"""Reading tab-separated files, without quoting, so that errors name the line."""

from __future__ import annotations

import csv
from pathlib import Path

from training.errors import DataError


def has_header(path: Path, header: list[str]) -> bool:
    """Whether the first line of a file has these tab-separated names."""
    try:
        with path.open("rb") as stream:
            return stream.readline().rstrip(b"\r\n") == "\t".join(header).encode()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error


def read_table(path: Path, header: list[str]) -> list[tuple[int, list[str]]]:
    """The rows below the header, each with its line number (from 1) and as many fields.

    Raises ``DataError`` that names the file, and the line where one is bad.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
            rows = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8: {error}") from error
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: {error}") from error
    if not rows or rows[0][1] != header:
        raise DataError(f"{path}:1: the header is not the columns {', '.join(header)}")
    for number, row in rows[1:]:
        if len(row) != len(header):
            raise DataError(f"{path}:{number}: {len(row)} columns, expected {len(header)}")
    return rows[1:]
