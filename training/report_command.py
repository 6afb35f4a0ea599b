"""``topiccore report``: what an artifact is worth on labelled queries, on one page."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from topiccore.cli import Command
from training.collections import default_cache
from training.command import DEFAULT_FOLDER, progress
from training.config import DEFAULT, read_config
from training.errors import TrainingError

if TYPE_CHECKING:
    from topiccore import TopicModel
    from training.dataset import Dataset


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``topiccore report``."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--config", type=Path, default=DEFAULT, help="names the labelled queries")
    source.add_argument(
        "--labels",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="measure on these tables instead, with the columns text and labels",
    )
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
    """Writes ``report.html`` and ``report.json``; the page's path goes to standard output."""
    config = None if arguments.labels else read_config(arguments.config)
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
    tell = progress(time.monotonic())
    model = topiccore.load(arguments.model)
    previous = topiccore.load(arguments.against) if arguments.against else None
    if config is None:
        data, others = _labelled(model, arguments.labels, tell), {}
    else:
        data = load_dataset(config, arguments.cache, tell)
        if [x.code for x in model.taxonomy] != [x.code for x in data.taxonomy]:
            raise TrainingError(
                f"{arguments.model}: its taxonomy is not that of {config.path('taxonomy')}"
            )
        others = read_curves(CURVES, data.sums["test"]) if data.queries else {}
    tell(f"measuring on {len(data.test) or len(data.validation)} queries")
    print(write_report(arguments.output, figures(model, data, others, [], previous)))
    return 0


def _labelled(model: TopicModel, paths: list[Path], tell: Callable[[str], None]) -> Dataset:
    from training.dataset import Dataset
    from training.own_data import read_own_labels
    from training.packages import file_sha256

    taxonomy = model.taxonomy
    labelled = read_own_labels(paths, taxonomy, tell)
    none = labelled.take([])
    sums = {str(path): file_sha256(path) for path in paths}
    return Dataset(taxonomy, none, none, labelled, [], {}, sums)


COMMAND = Command("report", "Write a page on what a model is worth.", configure, run)
