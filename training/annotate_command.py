"""``topiccore annotate``: trains the teacher, lets it label the pool."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from topiccore.argument_types import positive
from topiccore.cli import Command
from topiccore.cpus import allowed_cpus
from training.collections import default_cache
from training.command import progress
from training.config import DEFAULT, HERE, read_config
from training.errors import TrainingError
from training.files import replacing
from training.teacher_config import DEFAULT_TEACHER, read_teacher_config

ANNOTATIONS = HERE / "data" / "annotations.zip"
OWN = "annotated.parquet"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``topiccore annotate``."""
    parser.add_argument("--config", type=Path, default=DEFAULT, help="names the label files")
    parser.add_argument(
        "--teacher", type=Path, default=DEFAULT_TEACHER, help="settings of the teacher and the pool"
    )
    parser.add_argument(
        "--output",
        type=Path,
        help=f"file to write (default: {ANNOTATIONS}; for data of your own {OWN} beside --config)",
    )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write the teacher's figures as JSON"
    )
    parser.add_argument(
        "--cache", type=Path, default=default_cache(), help="folder for downloads and vectors"
    )
    parser.add_argument(
        "--processes",
        type=positive,
        default=allowed_cpus(),
        metavar="N",
        help="how many annotate at a time, each with 3 GB of memory (default: one for each CPU)",
    )
    parser.add_argument(
        "--measure", action="store_true", help="also measure on the test queries (not for tuning)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Trains, annotates, writes."""
    config = read_config(arguments.config)
    settings = read_teacher_config(arguments.teacher)
    # Here, because it brings torch along, which --help can do without.
    try:
        from training.annotate import annotate
    except ModuleNotFoundError as error:
        raise TrainingError(
            f"'topiccore annotate' needs the package {error.name}: pip install 'topiccore[teacher]'"
        ) from error
    own = not config.is_built_in
    output = arguments.output or (config.folder / OWN if own else ANNOTATIONS)
    figures = annotate(
        config,
        settings,
        arguments.cache,
        output,
        arguments.measure,
        arguments.processes,
        progress(time.monotonic()),
    )
    if arguments.report:
        with replacing(arguments.report) as partial:
            partial.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    if own:
        print(f"{output}: name it in [annotations] texts and train again")
    return 0


COMMAND = Command("annotate", "Train the teacher and let it label the pool.", configure, run)
