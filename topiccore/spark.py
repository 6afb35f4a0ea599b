"""Topics of Spark tables: the scorer of ``topiccore batch`` in the Python workers of a cluster.

The driver needs PySpark 4.1 or newer; workers need the same version of ``topiccore[spark]``.  Each
Python worker process opens the model once and maps it: the processes of a host that open the same
files share their pages.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
from pyspark import SparkFiles
from pyspark.errors import PySparkNotImplementedError
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql.functions import arrow_udf
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    CharType,
    DoubleType,
    NullType,
    StringType,
    StructField,
    StructType,
    VarcharType,
)

from batch.errors import BatchError
from batch.scoring import Options, Scorer, listed
from topiccore.errors import ArtifactError
from topiccore.model import PRETRAINED, TopicModel, load

TOPICS = ArrayType(
    StructType([StructField("code", StringType()), StructField("score", DoubleType())])
)
"""The type of a result: the emitted labels of a query, best first."""

Append: TypeAlias = Callable[[Iterable[pa.RecordBatch], str], Iterator[pa.RecordBatch]]
"""From batches and the name of their text column to batches with more columns at their end."""

_TEXT = (StringType, CharType, VarcharType, BinaryType, NullType)
_ARCHIVE = "topiccore-"


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where a worker finds an artifact, and which one it must be.

    ``place`` is a path that every worker sees or, with ``shipped``, the name of a Spark archive.
    """

    place: str
    id: str
    shipped: bool = False

    def open(self) -> TopicModel:
        """The model, mapped and checked; raises ``ArtifactError`` when it is another."""
        path = SparkFiles.get(self.place) if self.shipped else self.place
        model = load(path)
        if model.id != self.id:
            raise ArtifactError(f"{path}: holds {model.id[:12]}, not {self.id[:12]}")
        return model


def ship(spark: SparkSession, path: Path | str | None = None) -> ModelFiles:
    """Sends an artifact to every executor of the application, as a Spark archive.

    For clusters without a file system that all nodes see; executors that start later get it too.
    Without a path, the artifact that comes with the package.  Raises ``ArtifactError`` as ``load``.
    """
    source = PRETRAINED if path is None else Path(path)
    identity = load(source).id
    name = _ARCHIVE + identity[:16]
    context = spark.sparkContext
    if not any(archive.endswith(f"#{name}") for archive in context.listArchives):
        # Executors that start later fetch it from the driver: it has to stay until the end.
        folder = Path(tempfile.mkdtemp(prefix=_ARCHIVE))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        archive = folder / f"{name}.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
            for file in sorted(source.iterdir()):
                packed.write(file, file.name)
        context.addArchive(f"{archive}#{name}")
    return ModelFiles(name, identity, shipped=True)


def score_table(
    frame: DataFrame,
    text_column: str,
    model: ModelFiles | Path | str | None = None,
    options: Options | None = None,
    *,
    result_column: str = "topics",
) -> DataFrame:
    """The table with one more column, ``TOPICS``, at its end; other columns stay as they are.

    Args:
        frame: any table; rows, their order within a partition and partitions are kept.
        text_column: its column of queries, strings or UTF-8 bytes; a null's result is empty.
        model: what ``ship`` returned, or the path of an artifact that the driver and all workers
            see; without one, the artifact that comes with the package.
        options: what to emit.
        result_column: the name of the result.

    Raises ``BatchError`` for a wrong column, ``ArtifactError`` as ``load``.
    """
    check_columns(frame, text_column, result_column)
    files = _files(model)
    try:
        return append_columns(
            frame,
            text_column,
            [StructField(result_column, TOPICS)],
            _Append(files, options or Options()),
        )
    except PySparkNotImplementedError:
        # Columns that cannot go through Python: then only the queries do.
        topics = topics_udf(files, options)
        return frame.withColumn(result_column, topics(quoted(text_column)))


def topics_udf(
    model: ModelFiles | Path | str | None = None, options: Options | None = None
) -> Callable[..., Column]:
    """A function of a column of queries for use in expressions; it returns ``TOPICS``.

    Arguments are those of ``score_table``.  ``spark.udf.register`` makes it a function of SQL.
    """
    files, chosen = _files(model), options or Options()

    def topics(queries: pa.Array) -> pa.Array:
        return _scorer(files, chosen).score(queries)

    function: Callable[..., Column] = arrow_udf(topics, TOPICS)
    return function


def check_columns(frame: DataFrame, text_column: str, *result_columns: str) -> None:
    """Raises ``BatchError`` unless there is one such text column, and no result column yet."""
    names = frame.columns
    if names.count(text_column) != 1:
        found = "no" if text_column not in names else "more than one"
        raise BatchError(f"there is {found} column {text_column!r}; there are {listed(names)}")
    kind = frame.schema.fields[names.index(text_column)].dataType
    if not isinstance(kind, _TEXT):
        raise BatchError(f"column {text_column!r} is {kind.simpleString()}, not of strings")
    sensitive = frame.sparkSession.conf.get("spark.sql.caseSensitive") == "true"
    fold = str if sensitive else str.lower
    for name in result_columns:
        if fold(name) in map(fold, names):
            raise BatchError(f"there is a column {name!r} already; name another result")


def append_columns(
    frame: DataFrame, text_column: str, fields: list[StructField], append: Append
) -> DataFrame:
    """The table with more columns at its end, made from its Arrow batches by workers.

    ``append`` is pickled; it is given batches and the name that the text column has in them, and
    yields each batch with the new columns, whose names do not matter.  Raises
    ``PySparkNotImplementedError`` for columns that Arrow cannot carry to Python and back.
    """
    # Plain names: mapInArrow takes a dot or a backtick in a name for part of an expression.
    names = [f"c{place}" for place in range(len(frame.columns))]
    text = names[frame.columns.index(text_column)]
    given = frame.toDF(*names)
    mapped = given.mapInArrow(
        lambda batches: append(batches, text), StructType([*given.schema.fields, *fields])
    )
    return mapped.toDF(*frame.columns, *(field.name for field in fields))


def quoted(name: str) -> str:
    """A column's name as an expression takes it, whatever characters it has."""
    return "`" + name.replace("`", "``") + "`"


@dataclass(frozen=True, slots=True)
class _Append:
    files: ModelFiles
    options: Options

    def __call__(self, batches: Iterable[pa.RecordBatch], text: str) -> Iterator[pa.RecordBatch]:
        scorer = _scorer(self.files, self.options)
        for batch in batches:
            yield scorer.append(batch, text)


def _files(model: ModelFiles | Path | str | None) -> ModelFiles:
    if isinstance(model, ModelFiles):
        return model
    path = PRETRAINED if model is None else Path(model).absolute()
    return ModelFiles(str(path), load(path, verify=False).id)


@lru_cache(maxsize=4)
def _model(files: ModelFiles) -> TopicModel:
    return files.open()


@lru_cache(maxsize=16)
def _scorer(files: ModelFiles, options: Options) -> Scorer:
    return Scorer(_model(files), options)
