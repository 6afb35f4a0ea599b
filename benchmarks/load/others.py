"""What people would put up instead: Flask around scikit-learn, LitServe around the artifact."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.collection import labelled, tell
from benchmarks.load.servers import Server
from benchmarks.machine import ROOT
from benchmarks.peers import cache
from benchmarks.peers.targets import training_set

LITSERVE = "litserve==0.2.19"


class OtherMissingError(Exception):
    """Another server cannot be had here; the message tells why."""


@dataclass(frozen=True, slots=True)
class Other:
    """A server, how it is asked, and what the results page calls it."""

    title: str
    server: Server
    post: bool = False


def flask(models: Path) -> Other:
    """Flask in gunicorn around the pipeline of ``benchmarks.peers``, trained when it is not there.

    ``models`` is the folder where trained peers are kept.
    """
    for package in ("flask", "gunicorn"):
        if importlib.util.find_spec(package) is None:
            raise OtherMissingError(f"{package} is not installed; pip install 'topiccore[load]'")
    command = (
        "{python} -m gunicorn --bind 127.0.0.1:{port} --workers {workers} --threads 8 "
        "--keep-alive 75 --backlog 2048 --log-level error benchmarks.load.sklearn_app:get_app()"
    )
    environment = {**cache.ENVIRONMENT, "SKLEARN_MODEL": str(_pipeline(models))}
    return Other(
        "Flask + scikit-learn (hashing, one-vs-rest), gunicorn",
        Server("flask", command, environment=environment),
    )


def litserve(folder: Path) -> Other:
    """LitServe around the same artifact; it gets a virtual environment of its own in ``folder``."""
    python = folder / "bin" / "python"
    if not (folder / ".ready").exists():
        tell(f"litserve: setting up {folder} (once)")
        steps = (
            [sys.executable, "-m", "venv", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", LITSERVE, "numpy"],
        )
        for step in steps:
            if subprocess.run(step).returncode:
                raise OtherMissingError(f"{LITSERVE} does not install")
        (folder / ".ready").touch()
    return Other(
        f"LitServe {LITSERVE.partition('==')[2]}, the same artifact",
        Server(
            "litserve",
            f"{python} -m benchmarks.load.litserve_app {{model}} {{port}} {{workers}}",
            ready="/health",
            # topiccore comes from this tree, built for the same Python.
            environment={"PYTHONPATH": str(ROOT)},
        ),
        post=True,
    )


def _pipeline(models: Path) -> Path:
    peer = cache.module("sklearn_hashing")
    texts, targets, sums = training_set(labelled())
    with tempfile.TemporaryDirectory() as scratch:
        inputs = {"queries": Path(scratch) / "train.json", "targets": Path(scratch) / "train.npy"}
        inputs["queries"].write_text(json.dumps(texts), encoding="utf-8")
        np.save(inputs["targets"], targets)
        return Path(
            os.path.abspath(
                cache.trained("sklearn_hashing", peer, models, sums, inputs, _tell_flask)
            )
        )


def _tell_flask(line: str) -> None:
    tell(f"flask: {line}")
