"""Trained peers, kept under a key of all that shaped them."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

from benchmarks.machine import ROOT
from benchmarks.peers import PEERS

MISSING = 3
"""What a worker returns when a package is missing."""
ENVIRONMENT = {
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "RAYON")},
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
}


class PeerError(Exception):
    """A peer failed."""


class PeerMissingError(Exception):
    """A peer needs a package that is not installed."""


def key(peer: ModuleType, data: Mapping[str, str]) -> str:
    """16 hex digits of settings, package versions and the checksums of the data."""
    content = {
        "settings": peer.SETTINGS,
        "packages": {name: version(name) for name in peer.PACKAGES},
        "data": dict(data),
    }
    canonical = json.dumps(content, sort_keys=True, default=list)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def trained(
    name: str,
    peer: ModuleType,
    cache: Path,
    data: Mapping[str, str],
    inputs: Mapping[str, Path],
    report: Callable[[str], None],
) -> Path:
    """The folder of a trained peer; trains it in a process of its own when it is not there yet."""
    folder = cache / f"{name}-{key(peer, data)}"
    if folder.is_dir():
        return folder
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    partial.mkdir(parents=True)
    start = time.monotonic()
    try:
        run(worker_command("train", name, partial, **inputs), report)
        os.rename(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    report(f"trained in {time.monotonic() - start:.0f} s")
    return folder


def worker_command(job: str, name: str, folder: Path, **files: Path) -> list[str]:
    """The command of a worker process; ``files`` are its options."""
    options = [word for option, path in files.items() for word in (f"--{option}", str(path))]
    return [sys.executable, "-m", "benchmarks.peers.worker", job, name, str(folder), *options]


def run(command: list[str], report: Callable[[str], None]) -> None:
    """Runs a worker and passes its lines on.

    Raises ``PeerMissingError`` and ``PeerError`` with its last line.
    """
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT},
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    assert process.stderr is not None
    last = ""
    with process:
        for line in process.stderr:
            last = line.strip() or last
            report(last)
    if process.returncode == MISSING:
        raise PeerMissingError(last)
    if process.returncode:
        raise PeerError(f"{' '.join(command[3:4])} ended with {process.returncode}: {last}")


def model_bytes(folder: Path) -> int:
    """The size of all files of a model."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def module(name: str) -> ModuleType:
    """The module of a peer; raises ``PeerMissingError``."""
    try:
        return importlib.import_module(PEERS[name])
    except ModuleNotFoundError as error:
        raise PeerMissingError(f"needs {error.name}") from error
