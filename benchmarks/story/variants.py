"""Versions to tell the story with: another one, a corrupt one, a worse one."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from topiccore import artifact

SHIFT = 0.05
"""Logits by which the other version's thresholds differ: so about 1 % of the answers do."""


def other_thresholds(source: Path, path: Path, shift: float = SHIFT) -> str:
    """An artifact that emits some labels a little sooner than its source, others later; its id.

    So it is neither better nor worse, and passes the gates whatever the source is.
    """
    model = artifact.load(source)
    shifts = np.random.default_rng(2).choice(np.array([-shift, shift], np.float32), len(model.bias))
    moved = {
        "thresholds": model.thresholds + shifts,
        "beside": np.asarray(model.array("beside")) + shifts,
    }
    return artifact.save(replace(model, **moved, id="", path=None), path)


def shuffled(source: Path, path: Path, seed: int = 1) -> str:
    """An artifact of the right form, each feature of which has another's weights; its id."""
    model = artifact.load(source)
    rows = model.rows[np.random.default_rng(seed).permutation(len(model.rows))]
    return artifact.save(replace(model, rows=rows, id="", path=None), path)


def corrupt(source: Path, path: Path) -> Path:
    """A copy with one bit of one weight wrong, as a bad disk leaves it; returns the file."""
    shutil.copytree(source, path)
    return flip_bit(path / "rows.npy")


def flip_bit(file: Path) -> Path:
    """Changes the lowest bit of a file's last byte; returns the file."""
    file.parent.chmod(0o755)
    file.chmod(0o644)
    with file.open("r+b") as stream:
        stream.seek(-1, 2)
        last = stream.read(1)[0]
        stream.seek(-1, 2)
        stream.write(bytes([last ^ 1]))
    return file
