"""What the tests of the registry share: a registry, artifacts better and worse, processes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from conftest import small_artifact

from topiccore import Taxonomy, load
from topiccore.artifact import Artifact, save
from topiccore.cli import main

ROOT = Path(__file__).resolve().parents[1]
COMMAND = str(Path(sys.executable).with_name("topiccore"))


def save_version(
    folder: Path, taxonomy: Taxonomy, name: str, *, quality: dict[str, float] | None = None
) -> str:
    """Saves an artifact whose id, but no answer, depends on ``name``; returns the id."""
    return save(named(small_artifact(taxonomy), name, quality), folder / name)


def named(
    artifact: Artifact,
    name: str,
    quality: dict[str, float] | None = None,
    test: str = "the same",
) -> Artifact:
    """An artifact with a note in its manifest, and perhaps figures over all labels.

    ``test`` is the SHA-256 of its test queries.
    """
    training = {"name": name, "settings": {"epochs": len(name)}}
    if quality is not None:
        training["quality"] = {"all labels": {"queries": quality}}
    return replace(
        artifact,
        training=training,
        data={"sha256": {"test": test}, "name": name},
    )


def shuffled(artifact: Artifact, seed: int = 0) -> Artifact:
    """The artifact with the weights of every feature given to another: it is sound, but wrong."""
    rows = artifact.rows.copy()
    np.random.default_rng(seed).shuffle(rows)
    return replace(artifact, rows=rows)


def write_labels(path: Path, artifact: Path, queries: int = 120) -> Path:
    """A labelled table in which the artifact's own answers are right."""
    model = load(artifact)
    words = ["used", "honda", "civic", "cheap", "hotel", "dallas", "flight", "beach", "pizza"]
    words += ["red", "dress", "running", "shoes", "cafe"]
    random = np.random.default_rng(3)
    lines, seen = [], set()
    while len(lines) < queries:
        text = " ".join(random.choice(words, size=random.integers(1, 5)))
        if text not in seen:
            seen.add(text)
            codes = ",".join(label.code for label in model.score(text)) or "-"
            lines.append(json.dumps({"text": text, "labels": codes}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def ask(capsys, *arguments: object) -> tuple[int, object, str]:
    """Exit code, JSON and standard error of ``topiccore registry ... --json``."""
    capsys.readouterr()
    code = main(["registry", *map(str, arguments), "--json"])
    output, errors = capsys.readouterr()
    return code, json.loads(output) if output.strip() else None, errors


def start(*arguments: object) -> subprocess.Popen[str]:
    """``topiccore registry ...`` in a process of its own."""
    return subprocess.Popen(
        [COMMAND, "registry", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_and_die(code: str) -> int:
    """Runs Python code in a process of its own; returns its exit code, -9 for one that died."""
    prelude = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "def die(*_, **__):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", prelude + code], cwd=ROOT, stderr=subprocess.PIPE)
    assert done.returncode in (0, -9), done.stderr.decode()
    return done.returncode
