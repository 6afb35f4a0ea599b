"""Puts the artifact of a run into the package, where ``topiccore.load()`` finds it.

python tools/take_reference.py runs/reference/artifact
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import topiccore
from topiccore.model import PRETRAINED

MAX_BYTES = 25_000_000
PRECISION, COVERAGE, SUBTOPICS = 0.9, 0.7, 0.45


def main(source: Path) -> int:
    """Returns 0, or 1 when the artifact is too large or not good enough to ship."""
    model = topiccore.load(source)
    before = topiccore.load().id if PRETRAINED.exists() else None
    if model.id == before:
        print(f"the package has {model.id[:12]} already")
        return 0
    if lacking := list(shortcomings(model, source)):
        print(f"{source} is not taken: {'; '.join(lacking)}", file=sys.stderr)
        return 1
    scratch = Path(tempfile.mkdtemp(dir=PRETRAINED.parent, prefix=".pretrained-"))
    try:
        shutil.copytree(source, scratch / "new")
        if PRETRAINED.exists():
            PRETRAINED.rename(scratch / "old")
        (scratch / "new").rename(PRETRAINED)
    finally:
        shutil.rmtree(scratch)
    print(f"the package has {model.id[:12]} now" + (f", not {before[:12]}" if before else ""))
    return 0


def shortcomings(model: topiccore.TopicModel, source: Path):  # type: ignore[no-untyped-def]
    """What an artifact lacks to be the one that ships."""
    size = sum(file.stat().st_size for file in source.iterdir())
    if size > MAX_BYTES:
        yield f"{size} bytes, at most {MAX_BYTES}"
    quality = model.training["quality"]
    once, subtopics = quality["all labels"]["queries"], quality["subtopics"]["queries"]
    for name, value, least in (
        ("precision", once["precision"], PRECISION),
        ("coverage", once["coverage"], COVERAGE),
        ("coverage of subtopics", subtopics["coverage"], SUBTOPICS),
    ):
        if value < least:
            yield f"{name} {value:.1%}, at least {least:.0%}"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
