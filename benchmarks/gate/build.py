"""Builds the working tree or a commit into a folder of its own."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import ROOT


class BuildError(Exception):
    """A side of the comparison cannot be had or built."""


@dataclass(frozen=True)
class Side:
    """A built tree: ``source`` is its files, ``packages`` what to import from."""

    name: str
    source: Path
    packages: Path


def working_tree(folder: Path) -> Side:
    """The tracked and the new files of the working tree, built in ``folder``."""
    names = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split(b"\0")
    source = folder / "source"
    for name in sorted(set(filter(None, names))):
        origin = ROOT / name.decode()
        if origin.is_file():  # a deleted file is still in the index
            (source / name.decode()).parent.mkdir(parents=True, exist_ok=True)
            (source / name.decode()).write_bytes(origin.read_bytes())
    return _build("working tree", source, folder)


def commit(revision: str, folder: Path) -> Side:
    """The files of a commit, built in ``folder``."""
    archive = _git("archive", "--format=tar", revision)
    source = folder / "source"
    with tarfile.open(fileobj=io.BytesIO(archive)) as stream:
        stream.extractall(source, filter="data")
    return _build(f"base {revision[:12]}", source, folder)


def resolve(revision: str) -> str | None:
    """The full name of a commit, or ``None`` when there is none of that name."""
    try:
        return _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").decode().strip()
    except BuildError:
        return None


def _build(name: str, source: Path, folder: Path) -> Side:
    packages = folder / "packages"
    outcome = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--no-build-isolation", "--target", str(packages), str(source)),
        ],
        capture_output=True,
        text=True,
    )
    if outcome.returncode:
        lines = (outcome.stderr + outcome.stdout).strip().splitlines()
        raise BuildError(f"{name} does not build:\n" + "\n".join(lines[-15:]))
    return Side(name, source, packages)


def _git(*arguments: str) -> bytes:
    outcome = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True)
    if outcome.returncode:
        raise BuildError(f"git {arguments[0]}: {outcome.stderr.decode().strip()}")
    return outcome.stdout
