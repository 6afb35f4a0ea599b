"""The state of the code that an image of the service is built from."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Iterator
from pathlib import Path

RECIPES = ("Dockerfile", "model.Dockerfile", ".dockerignore")


def digest(root: Path) -> str:
    """Hex digits that change with each file of the build context, and with how it is built."""
    found = hashlib.sha256()
    for name in [*RECIPES, *files(root)]:
        content = (root / name).read_bytes()
        found.update(f"{name}\0{len(content)}\0".encode() + content)
    return found.hexdigest()


def files(root: Path) -> Iterator[str]:
    """What ``.dockerignore`` lets through, sorted: the names with ``!``, less the others."""
    lines = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and line[0] not in "#!" and line != "*"]
    for name in sorted(line[1:] for line in lines if line.startswith("!")):
        place = root / name
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            relative = path.relative_to(root)
            if path.is_file() and not any(_left_out(relative, one) for one in patterns):
                yield relative.as_posix()


def _left_out(path: Path, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return any(fnmatch.fnmatch(part, pattern[3:]) for part in path.parts)
    return path.is_relative_to(pattern)
