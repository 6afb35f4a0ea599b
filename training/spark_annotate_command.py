"""``topiccore spark-annotate``: the teacher annotates tables, on a Spark cluster."""

from __future__ import annotations

import argparse
from pathlib import Path

from topiccore.cli import Command
from topiccore.spark_tables import add_arguments, read_table, session, write_table
from training.collections import default_cache
from training.config import DEFAULT, read_config
from training.errors import TrainingError
from training.taxonomy import read_taxonomy
from training.teacher_config import DEFAULT_TEACHER, read_teacher_config


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``topiccore spark-annotate``."""
    add_arguments(parser)
    parser.add_argument("--config", type=Path, default=DEFAULT, help="names the label files")
    parser.add_argument(
        "--teacher", type=Path, default=DEFAULT_TEACHER, help="settings of the teacher"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=default_cache(),
        help="folder that all nodes see, with the teacher that 'topiccore annotate' trained "
        "(default: %(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Annotates."""
    codes = [label.code for label in read_taxonomy(read_config(arguments.config).path("taxonomy"))]
    least = read_teacher_config(arguments.teacher).annotations.least
    paths = (arguments.cache, arguments.config, arguments.teacher)
    with session("topiccore spark-annotate") as spark:
        # Here, because they bring Spark and torch along, which --help can do without.
        try:
            from topiccore.spark import check_columns
            from training.kept_teacher import KeptTeacher
            from training.spark_annotate import CODES, SCORES, annotate_table
        except ModuleNotFoundError as error:
            raise TrainingError(
                f"'topiccore spark-annotate' needs the package {error.name}: "
                "pip install 'topiccore[spark,teacher]'"
            ) from error
        teacher = KeptTeacher(*(path.absolute() for path in paths))
        teacher.find()  # told here, not by a worker
        table = read_table(spark, arguments)
        # Spark renames a column that is not there without a word.
        check_columns(table, arguments.text_column, CODES, SCORES)
        # The name that training knows a column of texts by.
        frame = table.withColumnRenamed(arguments.text_column, "text")
        annotated = annotate_table(frame, "text", teacher, codes, least=least)
        write_table(annotated, arguments, "scores.list.element")
    return 0


COMMAND = Command(
    "spark-annotate",
    "Let the teacher label tables, on the cluster of spark-submit.",
    configure,
    run,
)
