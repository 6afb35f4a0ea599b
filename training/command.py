"""``topiccore train``: from labelled queries to an artifact."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

from topiccore.cli import Command
from training.collections import default_cache
from training.config import DEFAULT, read_config
from training.errors import TrainingError

DEFAULT_FOLDER = Path("runs/demo")
STAGE_NAMES = (
    *("collections", "vectors", "student", "thresholds", "export", "report", "evaluate"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``topiccore train``."""
    parser.add_argument(
        "stage",
        nargs="?",
        choices=("all", *STAGE_NAMES),
        default="all",
        help="one stage alone, or all that are not up to date (default: all)",
    )
    parser.add_argument("--config", type=Path, default=DEFAULT, help="TOML file with the settings")
    parser.add_argument(
        "--out",
        type=Path,
        default=DEFAULT_FOLDER,
        metavar="DIR",
        help=f"folder of the run; the artifact is DIR/artifact (default: {DEFAULT_FOLDER})",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=default_cache(),
        metavar="DIR",
        help="folder of the query collections (default: $TOPICCORE_CACHE or %(default)s)",
    )
    parser.add_argument("--again", action="store_true", help="run also what is up to date")


def run(arguments: argparse.Namespace) -> int:
    """Trains; progress goes to standard error, the quality table to standard output."""
    config = read_config(arguments.config)
    # Here, because they bring scikit-learn and gensim along, which --help can do without.
    try:
        from training.pipeline import run_all, run_one
        from training.run_folder import RunFolder
        from training.stages import Run
    except ModuleNotFoundError as error:
        raise TrainingError(
            f"'topiccore train' needs the package {error.name}: pip install 'topiccore[train]'"
        ) from error

    current = Run(
        config, RunFolder(arguments.out), arguments.cache, progress(time.monotonic()), print
    )
    if arguments.stage == "all":
        run_all(current, again=arguments.again)
    else:
        run_one(current, arguments.stage)
    return 0


def progress(start: float) -> Callable[[str], None]:
    """A reporter of lines with the seconds since ``start``."""

    def report(line: str) -> None:
        print(f"[{time.monotonic() - start:6.1f} s] {line}", file=sys.stderr, flush=True)

    return report


COMMAND = Command("train", "Train a student and export it as an artifact.", configure, run)
