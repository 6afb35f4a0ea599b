"""Writes that survive the loss of power: each is on the disk before the next step relies on it."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from registry.sharing import open_file

_BLOCK = 1 << 20


def sync_folder(folder: Path) -> None:
    """Has the entries of a folder written to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def copy_file(source: Path, target: Path) -> None:
    """Copies the bytes of a file to a new one that anyone may read and nobody write."""
    with source.open("rb") as reading, target.open("xb") as writing:
        while block := reading.read(_BLOCK):
            writing.write(block)
        writing.flush()
        os.fchmod(writing.fileno(), 0o444)
        os.fsync(writing.fileno())


def write_json(path: Path, content: Any, mode: int = 0o644) -> None:
    """Writes a JSON file whole or not at all, in the place of any other."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with open(descriptor, "w", encoding="utf-8") as stream:
            stream.write(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.replace(name, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
    sync_folder(path.parent)


def append_line(root: Path, path: Path, line: str) -> None:
    """Appends a line to a file of a registry, made if need be, and has it written to the disk."""
    fresh = not path.exists()
    descriptor = open_file(root, path, os.O_WRONLY | os.O_APPEND)
    try:
        left = line.encode() + b"\n"
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if fresh:
        sync_folder(path.parent)


def point_link(link: Path, target: str) -> None:
    """Makes ``link`` a symbolic link to ``target``, in one step that readers see whole."""
    # The dot keeps what a killed process leaves from being taken for a channel.
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    fresh.symlink_to(target)
    try:
        os.replace(fresh, link)
    finally:
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
    sync_folder(link.parent)
