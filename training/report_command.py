"""``topiccore report``: what an artifact of a run is worth, on one page."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from topiccore.cli import Command
from training.collections import default_cache
from training.command import DEFAULT_FOLDER, progress
from training.config import DEFAULT, read_config
from training.errors import TrainingError


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``topiccore report``."""
    parser.add_argument("--config", type=Path, default=DEFAULT, help="names the labelled queries")
    parser.add_argument(
        "--model",
        type=Path,
        default=DEFAULT_FOLDER / "artifact",
        help="artifact directory (default: %(default)s)",
    )
    parser.add_argument(
        "--against", type=Path, metavar="DIR", help="an artifact to compare with, query by query"
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("report"), help="folder (default: %(default)s)"
    )
    parser.add_argument("--cache", type=Path, default=default_cache(), metavar="DIR")


def run(arguments: argparse.Namespace) -> int:
    """Writes ``report.html`` and ``report.json``."""
    config = read_config(arguments.config)
    try:
        import topiccore
        from training.dataset import load_dataset
        from training.report.curves import CURVES, read_curves
        from training.report.figures import figures
        from training.report.write import write_report
    except ModuleNotFoundError as error:
        raise TrainingError(
            f"'topiccore report' needs the package {error.name}: pip install 'topiccore[train]'"
        ) from error
    model = topiccore.load(arguments.model)
    previous = topiccore.load(arguments.against) if arguments.against else None
    data = load_dataset(config, arguments.cache, progress(time.monotonic()))
    if [x.code for x in model.taxonomy] != [x.code for x in data.taxonomy]:
        raise TrainingError(
            f"{arguments.model}: its taxonomy is not that of {config.path('taxonomy')}"
        )
    others = read_curves(CURVES, data.sums["test"]) if data.queries else {}
    print(write_report(arguments.output, figures(model, data, others, [], previous)))
    return 0


COMMAND = Command("report", "Write a page on what a model is worth.", configure, run)
