"""The artifact that a new one replaces is kept, so that the report can compare the two."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import topiccore
from topiccore.errors import ArtifactError

PREVIOUS = "previous"


@contextmanager
def keeping_previous(artifact: Path) -> Iterator[None]:
    """Where the block writes another artifact to ``artifact``, the old one is then in ``previous``.

    ``previous``, beside ``artifact``, holds one artifact; it stays as it is when the block fails,
    when the artifact's id stays the same, or when there was no whole artifact before.
    """
    try:
        before = topiccore.load(artifact).id
    except ArtifactError:
        yield
        return
    previous = artifact.parent / PREVIOUS
    scratch = Path(tempfile.mkdtemp(dir=artifact.parent, prefix=f".{PREVIOUS}-"))
    try:
        shutil.copytree(artifact, scratch / "replaced")
        yield
        if topiccore.load(artifact, verify=False).id != before:
            if previous.exists():
                previous.rename(scratch / "older")
            (scratch / "replaced").rename(previous)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
