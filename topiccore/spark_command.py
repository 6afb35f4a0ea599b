"""``topiccore spark``: the topics of tables, on a Spark cluster."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from topiccore.argument_types import natural, share
from topiccore.cli import Command
from topiccore.errors import TopiccoreError
from topiccore.model import default_model, load
from topiccore.spark_tables import add_arguments, read_table, session, write_table


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``topiccore spark``."""
    add_arguments(parser)
    parser.add_argument(
        "--model",
        type=Path,
        default=default_model(),
        help="artifact directory (default: %(default)s)",
    )
    parser.add_argument(
        "--shared",
        action="store_true",
        help="all nodes see the artifact at this path: map it there, do not send it",
    )
    parser.add_argument("--keep", metavar="NAMES", help="input columns to keep (default: all)")
    parser.add_argument(
        "--result-column", default="topics", metavar="NAME", help="name of the result (topics)"
    )
    parser.add_argument(
        "--min-score",
        type=share,
        metavar="S",
        help="emit labels with at least this score, 0 to 1, instead of using the thresholds",
    )
    parser.add_argument("--max-labels", type=natural, metavar="N", help="at most so many a row")
    parser.add_argument("--topics-only", action="store_true", help="no subtopics")


def run(arguments: argparse.Namespace) -> int:
    """Scores; what was done is told on standard error."""
    start = time.monotonic()
    with session("topiccore spark") as spark:
        # Here, because they bring Spark along, which --help can do without.
        from pyspark.sql import Observation
        from pyspark.sql import functions as f

        from batch.scoring import Options
        from topiccore.spark import quoted, score_table, ship

        try:
            options = Options(arguments.min_score, arguments.max_labels, arguments.topics_only)
        except ValueError as error:
            raise TopiccoreError(str(error)) from error
        if arguments.shared:
            load(arguments.model)  # a damaged one is told here, not by a worker
        model = arguments.model if arguments.shared else ship(spark, arguments.model)
        text, result = arguments.text_column, arguments.result_column
        frame = score_table(
            read_table(spark, arguments), text, model, options, result_column=result
        )
        counted = Observation()
        frame = frame.observe(
            counted,
            f.count(f.lit(1)).alias("rows"),
            f.count_if(f.isnull(quoted(text))).alias("nulls"),
            f.count_if(f.size(quoted(result)) > 0).alias("covered"),
        )
        if arguments.keep is not None:
            kept = [name for name in arguments.keep.split(",") if name]
            frame = frame.select(*map(quoted, kept), quoted(result))
        write_table(frame, arguments, f"{result}.list.element.score")
        found = counted.get
    rows, covered = found["rows"], found["covered"]
    print(
        f"topiccore: {rows:,} rows, {found['nulls']:,} of them null, {covered:,} with topics "
        f"({covered / max(rows, 1):.1%}), {time.monotonic() - start:.0f} s",
        file=sys.stderr,
    )
    return 0


COMMAND = Command(
    "spark", "Write the topics of tables, on the cluster of spark-submit.", configure, run
)
