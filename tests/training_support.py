"""For the tests of training: small settings on the real queries, and a run trained once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.collections import default_cache, load_queries
from training.config import DEFAULT, read_config
from training.run_folder import RunFolder
from training.stages import Run

DATA = DEFAULT.parent / "data"
SMALL: dict[str, Any] = {
    "vectors.dimensions": 16,
    "vectors.window": 3,
    "vectors.epochs": 1,
    "vectors.negative": 5,
    "vectors.min_count": 5,
    "words.glove_words": 2000,
    "words.ngram_longest": 3,
    "annotations.file": "",
    "student.min_count_words": 2,
    "student.epochs": 3,
    "thresholds.precision": 0.7,
    "thresholds.confidence": 0.9,
    "thresholds.further": 0.7,
    "thresholds.min_support": 10,
    "report.learning_curve": False,
}
TRAINING_QUERIES = 12_000


def at_most(share: float, repeats: int) -> float:
    """The largest share that 3 standard deviations of sampling explain."""
    return share + 3 * np.sqrt(share * (1 - share) / repeats)


def quiet(line: str) -> None:
    """A reporter that says nothing."""


@cache
def queries() -> dict[str, str]:
    """The real collections, fetched when they are not in the user's cache."""
    return load_queries(default_cache(), quiet)


def settings(folder: Path, changes: dict[str, Any]) -> dict[str, Any]:
    """The default settings by "section.setting", made small; labels of ``TRAINING_QUERIES``."""
    with DEFAULT.open("rb") as stream:
        default = tomllib.load(stream)
    train = folder / "labels-train.tsv"
    if not train.exists():
        with (DATA / train.name).open(encoding="utf-8") as stream:
            train.write_text("".join(islice(stream, TRAINING_QUERIES + 1)), encoding="utf-8")
    flat = {"seed": default.pop("seed")}
    flat |= {f"{name}.{key}": value for name in default for key, value in default[name].items()}
    for name in ("taxonomy", "train", "validation", "test"):
        flat[f"data.{name}"] = str(DEFAULT.parent / default["data"][name])
    return flat | {"data.train": train.name} | SMALL | changes


def write_config(folder: Path, name: str = "config.toml", **changes: Any) -> Path:
    """A configuration file in ``folder``; a change is ``section__setting=value``."""
    flat = settings(folder, {key.replace("__", "."): value for key, value in changes.items()})
    lines = [f"seed = {flat.pop('seed')}"]
    sections = dict.fromkeys(key.split(".")[0] for key in flat)
    for section in sections:
        lines.append(f"[{section}]")
        for key, value in flat.items():
            if key.startswith(f"{section}."):
                lines.append(f"{key.split('.')[1]} = {json.dumps(value)}")
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def train(
    *arguments: str | Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs ``topiccore train`` with these arguments as a user does, in its own process."""
    return subprocess.run(
        [sys.executable, "-m", "topiccore.cli", "train", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
    )


def open_run(folder: Path, config: Path, report: Any = quiet, show: Any = quiet) -> Run:
    """A run in this process."""
    return Run(read_config(config), RunFolder(folder), default_cache(), report, show)


def trained(factory: pytest.TempPathFactory) -> tuple[Path, Path, subprocess.CompletedProcess[str]]:
    """(run folder, configuration, outcome) of a whole run with small settings, once a session.

    Tests that change the folder copy it first.
    """
    return _trained(factory.getbasetemp() / "trained")


@cache
def _trained(folder: Path) -> tuple[Path, Path, subprocess.CompletedProcess[str]]:
    queries()  # so that a download is not part of the run
    folder.mkdir()
    config = write_config(folder)
    outcome = train(
        *("--config", config, "--out", folder / "run"), environment={"PYTHONHASHSEED": "1"}
    )
    assert outcome.returncode == 0, outcome.stderr
    return folder / "run", config, outcome
