"""``topiccore suggest`` and ``topiccore doubts``: tables that a person fills in and feeds back."""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from topiccore.cli import Command
from training.collections import default_cache
from training.command import DEFAULT_FOLDER, progress
from training.config import DEFAULT, read_config
from training.errors import TrainingError
from training.files import replacing
from training.labels import NO_LABEL

if TYPE_CHECKING:
    from training.stages import Run

_HINT = "fill in the column labels, name the file in [data] filled_in and train again"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of both commands."""
    parser.add_argument("--config", type=Path, default=DEFAULT, help="settings of the run")
    parser.add_argument(
        "--out",
        type=Path,
        default=DEFAULT_FOLDER,
        metavar="DIR",
        help="folder of the run, trained by 'topiccore train' (default: %(default)s)",
    )
    parser.add_argument("--cache", type=Path, default=default_cache(), metavar="DIR")
    parser.add_argument("-n", "--count", type=_positive, default=200, help="rows (default: 200)")
    parser.add_argument("-o", "--output", type=Path, required=True, help="CSV file to write")


def suggest_command(arguments: argparse.Namespace) -> int:
    """Writes the unlabelled texts whose labels would help most."""
    run = _open(arguments)
    import topiccore
    from training.stages import ARTIFACT
    from training.suggestions import suggest

    model = topiccore.load(run.folder.path / ARTIFACT)
    if not run.data.pool:
        raise TrainingError(f"{arguments.config}: data.unlabelled names no texts to choose from")
    if list(model.taxonomy) != list(run.data.taxonomy):
        raise TrainingError(f"{arguments.out}: its artifact is of another taxonomy; train first")
    short = run.data.train.gold.sum(axis=0) < run.config.thresholds.min_support
    found = suggest(model, run.data.pool, short, arguments.count, run.config.seed)
    rows = [
        (x.text, "", " ".join(f"{code}:{score:.2f}" for code, score in x.labels), x.reason)
        for x in found
    ]
    _write(arguments.output, ("text", "labels", "likely", "reason"), rows)
    return 0


def doubts_command(arguments: argparse.Namespace) -> int:
    """Writes the labelled queries whose labels are likely wrong."""
    run = _open(arguments)
    from training.doubts import find_doubts, out_of_fold
    from training.student_scores import student_of

    # Labels of validation queries may be wrong as well, and thresholds hang on them.
    queries = run.data.train.joined(run.data.validation)
    scores = out_of_fold(queries, student_of(run), 3, run.config.seed, run.report)
    try:
        found = find_doubts(queries, scores, run.data.taxonomy, arguments.count)
    except ModuleNotFoundError as error:
        raise TrainingError(
            f"'topiccore doubts' needs the package {error.name}: pip install 'topiccore[curate]'"
        ) from error
    rows = [
        (x.text, "", " ".join(x.given) or NO_LABEL, " ".join(x.likely), f"{x.quality:.4f}")
        for x in found
    ]
    _write(arguments.output, ("text", "labels", "given", "likely", "quality"), rows)
    if len(rows) < arguments.count:
        print(f"of {len(queries)} labelled queries no other is doubtful")
    return 0


def _open(arguments: argparse.Namespace) -> Run:
    config = read_config(arguments.config)
    try:
        from training.run_folder import RunFolder
        from training.stages import Run
    except ModuleNotFoundError as error:
        raise TrainingError(
            f"this needs the package {error.name}: pip install 'topiccore[train]'"
        ) from error
    say = progress(time.monotonic())
    return Run(config, RunFolder(arguments.out), arguments.cache, say, print)


def _write(path: Path, header: Sequence[str], rows: Sequence[Iterable[str]]) -> None:
    if path.exists():
        raise TrainingError(f"{path}: exists; it may have been filled in")
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        writer.writerows(rows)
    print(f"{path}: {len(rows)} rows; {_HINT}")


def _positive(text: str) -> int:
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 8 else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return value


SUGGEST = Command(
    "suggest",
    "Choose the unlabelled texts whose labels would help most.",
    configure,
    suggest_command,
)
DOUBTS = Command(
    "doubts", "List the labelled queries whose labels are likely wrong.", configure, doubts_command
)
