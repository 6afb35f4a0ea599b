"""What commands on Spark share: their arguments, the session, tables read and written."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from topiccore.errors import TopiccoreError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

TABLE = "table"
_CODEC = "spark.sql.parquet.compression.codec"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what tells inputs and output."""
    parser.add_argument("input", nargs="+", help="files, globs or folders; names with --from table")
    parser.add_argument("-o", "--output", required=True, help="a folder; a name with --to table")
    parser.add_argument(
        "--from",
        dest="source",
        default="parquet",
        metavar="FORMAT",
        help="parquet, csv, json, orc, text, any other that Spark has, or table "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--to", default="parquet", metavar="FORMAT", help="the same for the output (%(default)s)"
    )
    parser.add_argument(
        "--option",
        dest="options",
        type=_pair,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an option of Spark's reader, such as header=true; may be repeated",
    )
    parser.add_argument(
        "--text-column",
        metavar="NAME",
        default="query",
        help="holds the queries (default: %(default)s)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an output that exists")


@contextmanager
def session(name: str) -> Iterator[SparkSession]:
    """The session that spark-submit configures; errors of Spark and of workers are told in a line.

    Raises ``TopiccoreError`` for them.
    """
    try:
        from py4j.protocol import Py4JJavaError
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ModuleNotFoundError as error:
        raise TopiccoreError(
            f"this command needs the package {error.name}: pip install 'topiccore[spark]'"
        ) from error
    spark = SparkSession.builder.appName(name).getOrCreate()
    try:
        yield spark
    except PySparkException as error:
        raise TopiccoreError(_told(str(error))) from error
    except Py4JJavaError as error:
        raise TopiccoreError(_told(str(error.java_exception.getMessage()))) from error
    finally:
        spark.stop()


def read_table(spark: SparkSession, arguments: argparse.Namespace) -> DataFrame:
    """The rows of all inputs."""
    reader = spark.read.options(**dict(arguments.options))
    if arguments.source != TABLE:
        return reader.format(arguments.source).load(arguments.input)
    first, *others = [reader.table(name) for name in arguments.input]
    for other in others:
        first = first.unionByName(other)
    return first


def write_options(scores: str) -> dict[str, str]:
    """Options of Spark's Parquet writer for a column of lists, ``scores`` its path in Parquet.

    Hardly a score stands twice: to look for a dictionary of them takes time and saves no space.
    Files are compressed as ``topiccore batch`` does, which takes less time than Spark's Snappy and
    a third less space.
    """
    return {
        f"parquet.enable.dictionary#{scores}": "false",
        "compression": "zstd",
        "parquet.compression.codec.zstd.level": "1",
    }


def write_table(frame: DataFrame, arguments: argparse.Namespace, scores: str) -> None:
    """Writes the output, Parquet as ``write_options``; Spark shows it when all of it is there.

    A codec that the session is given (``_CODEC``) goes before that of ``write_options``.
    """
    writer = frame.write.mode("overwrite" if arguments.overwrite else "errorifexists")
    if arguments.to == "parquet":
        options = write_options(scores)
        if frame.sparkSession.sparkContext.getConf().contains(_CODEC):
            del options["compression"]
        writer = writer.options(**options)
    if arguments.to == TABLE:
        writer.saveAsTable(arguments.output)
    else:
        writer.format(arguments.to).save(arguments.output)


def _told(message: str) -> str:
    """The first line; of what a worker's Python raised, the line that says what."""
    *_, trace = message.rpartition("Traceback (most recent call last):\n")
    lines = trace.rstrip().split("\n")
    if trace == message:
        return trace.strip().split("\n")[0]
    raised = next((line for line in lines if not line.startswith(" ")), lines[-1])
    return f"a worker failed: {raised}"


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value
