"""Puts the artifact of a run into the package, where ``topiccore.load()`` finds it.

It must reach the bars below, and one that is there already is replaced only for a real gain, or
because it is of a format that is read no more.  A gain of another kind than coverage, such as a bar
that the one in the package misses, is told with ``--because``; the commit that puts the artifact
into the repository should say it, too.

python tools/take_reference.py runs/reference/artifact [--because REASON]
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import topiccore
from topiccore.model import PRETRAINED

MAX_BYTES = 25_000_000
PRECISION, COVERAGE, SUBTOPICS = 0.9, 0.7, 0.45
"""What it must reach on the test queries, each once and weighted by traffic."""
GAIN = 0.01
"""How much more than the one in the package it must cover: of 1,000 queries, less is chance."""
WEIGHTINGS = {"queries": "", "traffic": " by traffic"}


def main(source: Path, because: str = "") -> int:
    """Returns 0, or 1 when the artifact is too large or not good enough to ship.

    ``because`` is what it gains, where that is not ``GAIN``.
    """
    model = topiccore.load(source)
    old = in_the_package()
    before = old.id if old else None
    if model.id == before:
        print(f"the package has {model.id[:12]} already")
        return 0
    lacking = [*shortcomings(model, source)]
    if old and not because.strip():
        lacking += no_gain(model, old)
    if lacking:
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
    instead = f", not {before[:12]}" if before else ""
    print(f"the package has {model.id[:12]} now{instead}" + (f": {because}" if because else ""))
    return 0


def in_the_package() -> topiccore.TopicModel | None:
    """What the package has, if this version reads it."""
    if not PRETRAINED.exists():
        return None
    try:
        return topiccore.load(PRETRAINED)
    except topiccore.ArtifactError as error:
        print(f"what the package has is replaced: {error}")
        return None


def shortcomings(model: topiccore.TopicModel, source: Path) -> Iterator[str]:
    """What an artifact lacks to be one that ships."""
    size = sum(file.stat().st_size for file in source.iterdir())
    if size > MAX_BYTES:
        yield f"{size} bytes, at most {MAX_BYTES}"
    quality = model.training.get("quality")
    if not quality:
        yield "it was measured on no test queries"
        return
    for weighting, told in WEIGHTINGS.items():
        every, subtopics = (quality[view][weighting] for view in ("all labels", "subtopics"))
        for name, value, least in (
            ("precision", every["precision"], PRECISION),
            ("coverage", every["coverage"], COVERAGE),
            ("coverage of subtopics", subtopics["coverage"], SUBTOPICS),
        ):
            if value < least:
                yield f"{name}{told} {value:.1%}, at least {least:.0%}"


def no_gain(model: topiccore.TopicModel, old: topiccore.TopicModel) -> Iterator[str]:
    """Why an artifact is not better than the one it would replace.

    It must cover ``GAIN`` more, each test query once, and no less by traffic; that both keep the
    precision is for ``shortcomings``.
    """
    tests = [x.artifact.data.get("sha256", {}).get("test") for x in (model, old)]
    if tests[0] is None or tests[0] != tests[1]:
        yield "it was measured on other test queries than the one in the package"
        return
    for weighting, least in (("queries", GAIN), ("traffic", 0.0)):
        now, before = (
            x.training.get("quality", {})
            .get("all labels", {})
            .get(weighting, {})
            .get("coverage", 0)
            for x in (model, old)
        )
        # Shares are stored with four digits.
        if round(now - before, 4) < least:
            yield (
                f"coverage{WEIGHTINGS[weighting]} {now:.1%}, the one in the package has "
                f"{before:.1%}, and a gain of {100 * least:g} points is asked for"
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--because", metavar="REASON", default="", help="the gain, if not coverage")
    chosen = parser.parse_args()
    sys.exit(main(chosen.artifact, chosen.because))
