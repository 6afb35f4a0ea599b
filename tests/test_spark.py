"""Spark, on a cluster of two executor processes: same answers, whatever happens to a process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import types
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from batch_support import QUERIES, expected
from ways_support import by_batch, by_post, by_post_of_many, by_score, many_queries, rounded

from batch.errors import BatchError
from batch.scoring import Options, Scorer
from topiccore import ArtifactError, cli, spark_tables
from topiccore.errors import TopiccoreError

pyspark = pytest.importorskip("pyspark")

from pyspark import TaskContext  # noqa: E402
from pyspark.errors import PySparkException  # noqa: E402
from pyspark.sql import SparkSession  # noqa: E402
from pyspark.sql import functions as f  # noqa: E402

from topiccore import spark as topics_of  # noqa: E402

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

MASTER = "local-cluster[2,1,1024]"
ENVIRONMENT = {
    "PYSPARK_PYTHON": sys.executable,
    "SPARK_HOME": str(Path(pyspark.__file__).parent),
    "SPARK_LOCAL_IP": "127.0.0.1",
}
CONFIGURATION = {
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "4",
    "spark.sql.session.timeZone": "America/Chicago",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "100",
}
DEADLINE = 300
ROWS = [*QUERIES, None] * 50


@pytest.fixture(scope="module")
def spark():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        builder = SparkSession.builder.master(MASTER)
        for name, value in CONFIGURATION.items():
            builder = builder.config(name, value)
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("OFF")
        yield session
        session.stop()


@pytest.fixture
def frame(spark, tmp_path):
    """``ROWS`` with ids, in seven files."""
    for number in range(7):
        ids = list(range(number, len(ROWS), 7))
        table = pa.table({"id": ids, "query": pa.array([ROWS[i] for i in ids], pa.string())})
        pq.write_table(table, tmp_path / f"{number}.parquet")
    return spark.read.parquet(*map(str, sorted(tmp_path.glob("*.parquet")))).repartition(7)


def results(frame, column="topics"):
    """The results in the order of ``id``, as ``expected`` writes them."""
    rows = frame.orderBy("id").select(column).collect()
    return [[item.asDict() for item in row[0]] for row in rows]


def answers(model, **options):
    return [expected(model, query, **options) for query in ROWS]


@pytest.mark.parametrize("shipped", [True, False])
def test_a_table_gets_the_answers_of_the_model(spark, frame, model, artifact_path, shipped):
    files = topics_of.ship(spark, artifact_path) if shipped else artifact_path
    scored = topics_of.score_table(frame, "query", files)
    assert scored.columns == ["id", "query", "topics"]
    assert scored.schema["topics"].dataType == topics_of.TOPICS
    assert results(scored) == answers(model)
    assert sum(map(bool, answers(model))) > 100


def test_every_way_gives_the_same_answers(spark, any_model, tmp_path, monkeypatch, capfd):
    queries = many_queries()
    rows = [expected(any_model, query) for query in queries]
    assert sum(map(bool, rows)) > 100
    path = any_model.artifact.path
    table = pa.table({"id": range(len(queries)), "query": queries})
    pq.write_table(table, tmp_path / "queries.parquet")
    frame = spark.read.parquet(str(tmp_path / "queries.parquet")).repartition(5)
    topics = topics_of.topics_udf(topics_of.ship(spark, path))
    assert results(topics_of.score_table(frame, "query", path)) == rows
    assert results(frame.withColumn("topics", topics("query"))) == rows
    assert Scorer(any_model).score(pa.array(queries)).to_pylist() == rows
    for threads in (1, 2):
        assert by_batch(any_model, queries, tmp_path, threads) == rows
    assert rounded(by_score(any_model, queries, monkeypatch, capfd)) == rounded(rows)
    assert rounded(by_post(any_model, queries)) == rounded(rows)
    assert rounded(by_post_of_many(any_model, queries)) == rounded(rows)


def test_an_expression_gives_the_same(spark, frame, model, artifact_path):
    topics = topics_of.topics_udf(artifact_path)
    assert results(frame.withColumn("topics", topics("query"))) == answers(model)
    upper = frame.where(f.size(topics(f.lower("query"))) > 0).count()
    assert upper == sum(bool(expected(model, q.lower())) for q in ROWS if q is not None)
    spark.udf.register("topics", topics)
    frame.createOrReplaceTempView("queries")
    assert results(spark.sql("SELECT id, topics(query) AS topics FROM queries")) == answers(model)


def test_options(frame, model, artifact_path):
    options = Options(min_score=0.3, max_labels=2)
    scored = topics_of.score_table(frame, "query", artifact_path, options, result_column="found")
    assert results(scored, "found") == answers(model, min_score=0.3, max_labels=2)
    topics = topics_of.topics_udf(artifact_path, Options(topics_only=True, min_score=0))
    found = results(frame.withColumn("topics", topics("query")))
    assert {item["code"] for row in found for item in row} == {"V", "T", "S"}


@pytest.mark.parametrize("large", ["false", "true"])
def test_bytes_and_large_strings_are_scored(spark, frame, model, artifact_path, large):
    spark.conf.set("spark.sql.execution.arrow.useLargeVarTypes", large)
    try:
        assert results(topics_of.score_table(frame, "query", artifact_path)) == answers(model)
        as_bytes = frame.withColumn("query", f.encode("query", "utf-8"))
        assert results(topics_of.score_table(as_bytes, "query", artifact_path)) == answers(model)
        topics = topics_of.topics_udf(artifact_path)
        assert results(as_bytes.withColumn("topics", topics("query"))) == answers(model)
    finally:
        spark.conf.unset("spark.sql.execution.arrow.useLargeVarTypes")


KINDS = {
    "number": "cast(id as smallint)",
    "exact": "cast(id / 3 as decimal(38, 18))",
    "time": "timestamp'2024-03-10 01:59:59.123456' + make_dt_interval(0, id)",
    "local": "timestamp_ntz'1931-12-31 23:59:59.999999'",
    "day": "date_add(date'1850-01-01', cast(id as int))",
    "raw": "unhex('00FF80')",
    "flag": "if(id % 2 = 0, null, id % 3 = 0)",
    "float": "double('NaN')",
    "span": "make_dt_interval(1, id)",
    "list": "array(id, null, id + 1)",
    "pairs": "map('a', array(named_struct('b', X'01', 'c', date'2020-02-29')))",
    "nested": "named_struct('x', id, 'y', named_struct('z', array(array('q', null))))",
    "nothing": "null",
    "padded": "cast('x' as char(4))",
    "a `strange.name`": "'ok'",
    "id.x": "id",
}
ONLY_IN_SPARK = {
    "months": "make_ym_interval(1, cast(id as int))",
    "calendar": "make_interval(1, 2, 3, 4)",
}


@pytest.mark.parametrize("kinds", [KINDS, KINDS | ONLY_IN_SPARK], ids=["arrow", "any"])
def test_other_columns_stay_as_they_are(frame, model, artifact_path, kinds):
    wide = frame.select("*", *[f.expr(kinds[name]).alias(name) for name in kinds])
    scored = topics_of.score_table(wide, "query", artifact_path)
    assert scored.schema.fields[:-1] == wide.schema.fields
    assert results(scored) == answers(model)
    before, after = (
        part.orderBy("id")._jdf.showString(len(ROWS), 0, False)
        for part in (wide, scored.drop("topics"))
    )
    assert after == before


def test_wrong_columns_are_refused_before_anything_runs(spark, frame, artifact_path):
    with pytest.raises(BatchError, match=r"no column 'text'; there are 'id', 'query'"):
        topics_of.score_table(frame, "text", artifact_path)
    with pytest.raises(BatchError, match="'id' is bigint, not of strings"):
        topics_of.score_table(frame, "id", artifact_path)
    with pytest.raises(BatchError, match="column 'Query' already"):
        topics_of.score_table(frame, "query", artifact_path, result_column="Query")
    with pytest.raises(BatchError, match="more than one column 'query'"):
        topics_of.score_table(frame.select("*", "query"), "query", artifact_path)
    with pytest.raises(ArtifactError, match="nowhere"):
        topics_of.score_table(frame, "query", "/nowhere")
    with pytest.raises(ArtifactError, match="nowhere"):
        topics_of.ship(spark, "/nowhere")


def test_workers_refuse_another_artifact(frame, artifact_path):
    other = topics_of.ModelFiles(str(artifact_path), "0" * 64)
    with pytest.raises(PySparkException, match=r"holds .*, not 000000000000"):
        topics_of.score_table(frame, "query", other).collect()


def test_a_process_opens_the_model_once_and_maps_it(frame, artifact_path):
    append = topics_of._Append(topics_of._files(artifact_path), Options())

    def look(batches):
        rows = sum(batch.num_rows for batch in append(batches, "query"))
        with open("/proc/self/maps") as maps:
            inodes = {line.split()[4] for line in maps if line.endswith("/small/rows.npy\n")}
        opened = topics_of._model.cache_info().misses
        found = {"pid": [os.getpid()], "opened": [opened], "rows": [rows]}
        yield pa.RecordBatch.from_pydict(found | {"inodes": [",".join(inodes)]})

    looking = frame.mapInArrow(look, "pid long, opened long, rows long, inodes string")
    seen = looking.collect() + looking.collect()
    assert len(seen) == 14
    assert sum(row["rows"] for row in seen) == 2 * len(ROWS)
    processes = {row["pid"] for row in seen}
    assert len(processes) < 7
    # Other tests may have had these processes open other models, but none is opened meanwhile.
    assert len({(row["pid"], row["opened"]) for row in seen}) == len(processes)
    assert all(row["opened"] >= 1 for row in seen)
    assert {row["inodes"] for row in seen} == {str((artifact_path / "rows.npy").stat().st_ino)}


def wait_for(condition):
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def test_a_killed_executor_changes_nothing(spark, frame, model, artifact_path, tmp_path):
    files = topics_of.ship(spark, artifact_path)
    seen, go = tmp_path / "seen", tmp_path / "go"
    seen.mkdir()

    def held_up(batches):
        # Three of seven partitions go through; the others stop until the kill has been.
        context = TaskContext.get()
        place, attempt = context.partitionId(), context.attemptNumber()
        # The JVM that started the daemon that forked this process.
        daemon = Path(f"/proc/{os.getppid()}/stat").read_text()
        executor = daemon.rsplit(")", 1)[1].split()[1]
        (seen / f"{place}-{context.taskAttemptId()}").write_text(executor)
        end = time.monotonic() + DEADLINE
        while place >= 3 and attempt == 0 and not go.exists() and time.monotonic() < end:
            time.sleep(0.05)
        yield from batches

    scored = topics_of.score_table(frame.mapInArrow(held_up, frame.schema), "query", files)
    found = []
    # Exchanged once more, so that the killed process takes finished results along.
    runner = threading.Thread(target=lambda: found.extend(scored.repartition(4, "id").collect()))
    runner.start()
    executors = []

    def both_wait():
        assert runner.is_alive()
        waiting = [path for path in seen.iterdir() if int(path.name.split("-")[0]) >= 3]
        executors[:] = sorted({path.read_text() for path in waiting} - {""})
        return len(executors) == 2

    wait_for(both_wait)
    began = sorted(path.name.split("-")[0] for path in seen.iterdir())
    assert began == ["0", "1", "2", "3", "4"]
    os.kill(int(executors[0]), signal.SIGKILL)
    go.touch()
    runner.join(DEADLINE)
    rows = {row["id"]: [item.asDict() for item in row["topics"]] for row in found}
    assert len(found) == len(ROWS)
    assert [rows[number] for number in range(len(ROWS))] == answers(model)
    again = Counter(path.name.split("-")[0] for path in seen.iterdir())
    assert len(again) == 7
    assert again.total() > 8  # both what was under way and what was finished there


def submit(*arguments, master=MASTER, configuration=(), python=sys.executable):
    """Runs ``spark-submit`` with the command ``topiccore`` as a user does.

    ``configuration`` are more ``--conf``; ``python`` is what executors start.
    """
    program = Path(ENVIRONMENT["SPARK_HOME"]) / "bin" / "spark-submit"
    settings = [word for x in ("spark.ui.enabled=false", *configuration) for word in ("--conf", x)]
    environment = {"PYSPARK_PYTHON": str(python), "PYSPARK_DRIVER_PYTHON": sys.executable}
    return subprocess.run(
        [program, "--master", master, *settings, cli.__file__, *arguments],
        env={**os.environ, **ENVIRONMENT, **environment},
        # It puts all that Python says on its standard output.
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2 * DEADLINE,
    )


def codecs(folder: Path) -> set[str]:
    """Those of the first column of all Parquet files."""
    files = [pq.read_metadata(path) for path in folder.glob("*.parquet")]
    return {file.row_group(0).column(0).compression for file in files if file.num_row_groups}


def test_the_job_by_spark_submit(model, artifact_path, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(3):
        ids = list(range(number, len(ROWS), 3))
        texts = pa.array([ROWS[i] for i in ids], pa.string())
        table = pa.table({"id": ids, "text": texts, "dropped": ids})
        pq.write_table(table, tmp_path / "in" / f"{number}.parquet")
    command = ["spark", tmp_path / "in", "-o", tmp_path / "out", "--model", artifact_path]
    command += ["--text-column", "text", "--max-labels", "2"]
    done = submit(*command, "--keep", "id")
    assert done.returncode == 0, done.stdout
    table = pq.read_table(tmp_path / "out").sort_by("id")
    assert table.column_names == ["id", "topics"]
    right = answers(model, max_labels=2)
    assert table["topics"].to_pylist() == right
    covered = sum(map(bool, right))
    assert f"{len(ROWS)} rows, 50 of them null, {covered} with topics" in done.stdout
    assert codecs(tmp_path / "out") == {"ZSTD"}
    again = submit(*command, master="local[1]")
    assert again.returncode == 1
    assert f"{tmp_path}/out already exists" in again.stdout
    assert "Traceback" not in again.stdout
    command[2:4] = ["-o", tmp_path / "json"]
    command += ["--to", "json", "--shared", "--text-column", "id"]
    wrong = submit(*command, master="local[1]")
    assert wrong.returncode == 1
    assert "topiccore: error: column 'id' is bigint, not of strings" in wrong.stdout
    assert not (tmp_path / "json").exists()


def test_a_codec_that_is_asked_for_is_taken(artifact_path, tmp_path):
    pq.write_table(pa.table({"query": ["used honda"]}), tmp_path / "in.parquet")
    command = ["spark", tmp_path / "in.parquet", "-o", tmp_path / "out", "--model", artifact_path]
    codec = "spark.sql.parquet.compression.codec=gzip"
    done = submit(*command, master="local[1]", configuration=(codec,))
    assert done.returncode == 0, done.stdout
    assert codecs(tmp_path / "out") == {"GZIP"}


def test_a_csv_becomes_json(model, artifact_path, tmp_path):
    (tmp_path / "log.csv").write_text("id,query\n1,used honda civic\n2,\n3,red dress\n")
    command = ["spark", tmp_path / "log.csv", "-o", tmp_path / "out", "--model", artifact_path]
    command += ["--from", "csv", "--option", "header=true", "--to", "json", "--shared"]
    done = submit(*command, master="local[1]")
    assert done.returncode == 0, done.stdout
    lines = [line for path in (tmp_path / "out").glob("*.json") for line in path.open()]
    rows = sorted((json.loads(line) for line in lines), key=lambda row: row["id"])
    queries = ["used honda civic", None, "red dress"]
    assert [row["topics"] for row in rows] == [expected(model, query) for query in queries]


def test_a_damaged_model_is_told_before_anything_runs(artifact_path, tmp_path):
    damaged = tmp_path / "model"
    shutil.copytree(artifact_path, damaged)
    with (damaged / "rows.npy").open("r+b") as rows:
        rows.seek(-1, os.SEEK_END)
        rows.write(b"\x55")
    (tmp_path / "log.csv").write_text("query\nused honda civic\n")
    command = ["spark", tmp_path / "log.csv", "-o", tmp_path / "out", "--model", damaged]
    command += ["--from", "csv", "--option", "header=true"]
    for words in ([], ["--shared"]):
        done = submit(*command, *words, master="local[1]")
        assert done.returncode == 1
        assert f"topiccore: error: {damaged}/rows.npy" in done.stdout
        assert "Traceback" not in done.stdout
    assert not (tmp_path / "out").exists()


@pytest.fixture
def stopped(spark, monkeypatch):
    """``session``, with the session of the tests, which stays."""
    monkeypatch.setattr(type(spark), "stop", lambda _: None)
    return spark_tables.session


def test_what_a_worker_raises_is_told_in_a_line(stopped, artifact_path):
    other = topics_of.ModelFiles(str(artifact_path), "0" * 64)
    told = r"^a worker failed: topiccore\.errors\.ArtifactError: .*: holds .*, not 000000000000$"

    def score():
        with stopped("test") as spark:
            frame = spark.createDataFrame([("used honda",)], "query string")
            topics_of.score_table(frame, "query", other).collect()

    with pytest.raises(TopiccoreError, match=told):
        score()


def test_what_spark_refuses_is_told_in_a_line(stopped, tmp_path):
    (tmp_path / "bad.parquet").write_text("no parquet")
    for kind, told in (("nosuch", r"^\[DATA_SOURCE_NOT_FOUND\] .*$"), ("parquet", r"^\[.*$")):
        with pytest.raises(TopiccoreError, match=told) as error, stopped("test") as spark:
            spark.read.format(kind).load(str(tmp_path)).collect()
        assert "\n" not in str(error.value)


def test_a_column_to_annotate_that_is_not_there(stopped, monkeypatch, tmp_path, capsys):
    teacher = types.ModuleType("training.kept_teacher")
    teacher.KeptTeacher = lambda *_: SimpleNamespace(find=lambda: None)
    monkeypatch.setitem(sys.modules, "training.kept_teacher", teacher)
    source, out = str(tmp_path / "in.parquet"), tmp_path / "out"
    pq.write_table(pa.table({"text": ["cheap flights"]}), source)
    words = ["spark-annotate", source, "-o", str(out), "--text-column", "tpyo"]
    assert cli.main(words) == 1
    assert "there is no column 'tpyo'; there are 'text'" in capsys.readouterr().err
    assert not out.exists()


WORDS = {"V1": ["car", "ford", "honda"], "T1": ["hotel", "room", "inn"], "S1": ["dress", "shirt"]}


@pytest.fixture(scope="module")
def teacher():
    """A trained teacher, and its codes."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline

    rng = np.random.default_rng(2)
    codes = list(WORDS)
    chosen = rng.integers(0, len(codes), 300)
    texts = [f"cheap {rng.choice(WORDS[codes[label]])} for sale" for label in chosen]
    gold = np.eye(len(codes), dtype=int)[chosen]
    model = make_pipeline(TfidfVectorizer(), OneVsRestClassifier(LogisticRegression(C=20)))
    return model.fit(texts, gold), codes


def test_a_teacher_annotates_a_table(spark, teacher, tmp_path):
    from training.spark_annotate import annotate_table
    from training.stored_examples import StoredExamples

    pipeline, codes = teacher
    rng = np.random.default_rng(3)
    words = [word for group in WORDS.values() for word in group] + ["else"]
    texts = [" ".join(rng.choice(words, 2)) for _ in range(5000)] + [None] * 10
    order = rng.permutation(len(texts)).tolist()
    pq.write_table(
        pa.table({"id": order, "text": [texts[i] for i in order]}), tmp_path / "pool.parquet"
    )
    opened = tmp_path / "opened"
    opened.mkdir()

    def open_teacher():
        (opened / f"{os.getpid()}-{time.monotonic_ns()}").touch()
        return pipeline.predict_proba

    pool = spark.read.parquet(str(tmp_path / "pool.parquet")).repartition(6)
    annotated = annotate_table(pool, "text", open_teacher, codes, least=0.05)
    annotated.where("text IS NOT NULL").write.parquet(str(tmp_path / "annotated"))
    rows = {row["id"]: row for row in annotated.collect()}
    scores = pipeline.predict_proba([text or "" for text in texts])
    for i, text in enumerate(texts):
        right = sorted(zip(scores[i].tolist(), codes, strict=True), reverse=True)
        right = [] if text is None else [pair for pair in right if pair[0] >= 0.05]
        assert rows[i]["text"] == text
        assert rows[i]["codes"] == [code for _, code in right]
        assert rows[i]["scores"] == pytest.approx([score for score, _ in right], rel=1e-6)
    processes = [path.name.split("-")[0] for path in opened.iterdir()]
    assert len(processes) == len(set(processes)) < 12  # the tasks of both passes
    files = tuple((tmp_path / "annotated").glob("*.parquet"))
    known = StoredExamples(files, tuple(codes), 1.0, frozenset({""}))
    assert known.totals.examples == 5000


def test_a_teacher_that_gives_something_else_is_refused(frame, teacher):
    from training.spark_annotate import annotate_table

    pipeline, codes = teacher
    wide = annotate_table(frame, "query", lambda: pipeline.predict_proba, [*codes, "V2"])
    with pytest.raises(PySparkException, match=r"scores of shape \(\d+, 3\) for \d+ texts and 4"):
        wide.collect()
    logits = annotate_table(
        frame, "query", lambda: lambda texts: 3 * pipeline.predict_proba(texts), codes
    )
    with pytest.raises(PySparkException, match=r"not in \[0, 1\]"):
        logits.collect()
    with pytest.raises(BatchError, match="no column 'text'"):
        annotate_table(frame, "text", lambda: pipeline.predict_proba, codes)


@pytest.fixture(scope="module")
def kept_teacher(tmp_path_factory):
    """A small teacher as ``topiccore annotate`` keeps one: it, its texts and its options."""
    pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from teacher_support import keep_teacher

    return keep_teacher(tmp_path_factory.mktemp("teacher"))


FIRST_GOES_ON = """\
#!/bin/sh
# The Python of the first executor that starts one goes on, any other waits.
if grep -q CoarseGrainedExecutorBackend /proc/$PPID/cmdline; then
    if mkdir {folder}/first 2>/dev/null; then
        echo $PPID > {folder}/first/executor
    else
        touch {folder}/another
        while [ ! -e {folder}/go ]; do sleep 0.05; done
    fi
fi
exec {python} "$@"
"""


@pytest.mark.parametrize("killed", [False, True], ids=["all live", "one killed"])
def test_the_kept_teacher_annotates_by_spark_submit(kept_teacher, tmp_path, killed):
    teacher, texts, options = kept_teacher
    (tmp_path / "in").mkdir()
    parts = [[*texts[number::12], None] for number in range(12)]
    for number, part in enumerate(parts):
        ids = [100 * number + place for place in range(len(part))]
        pq.write_table(
            pa.table({"id": ids, "query": pa.array(part, pa.string())}),
            tmp_path / "in" / f"{number:02}.parquet",
        )
    cache = Path(options[options.index("--cache") + 1])
    scores = [teacher(part[:-1]).toarray() for part in parts]
    kept = sorted(cache.rglob("*"))
    # A file a task.
    settings = ["spark.sql.files.openCostInBytes=134217728"]
    command = ["spark-annotate", tmp_path / "in", "-o", tmp_path / "out", *options]
    if not killed:
        done = submit(*command, configuration=settings)
    else:
        python = tmp_path / "python"
        python.write_text(FIRST_GOES_ON.format(folder=tmp_path, python=sys.executable))
        python.chmod(0o755)
        outcomes = []
        runner = threading.Thread(
            target=lambda: outcomes.append(submit(*command, configuration=settings, python=python))
        )
        runner.start()
        executor = tmp_path / "first" / "executor"

        def one_works_and_another_waits():
            assert runner.is_alive()
            finished = list((tmp_path / "out").glob("_temporary/0/task_*"))
            return (tmp_path / "another").exists() and finished

        try:
            wait_for(one_works_and_another_waits)
            os.kill(int(executor.read_text()), signal.SIGKILL)
        finally:
            (tmp_path / "go").touch()
            runner.join(DEADLINE)
        [done] = outcomes
        assert "Lost executor" in done.stdout
    assert done.returncode == 0, done.stdout
    table = pq.read_table(tmp_path / "out").sort_by("id")
    assert table.column_names == ["id", "text", "codes", "scores"]
    rows = iter(table.to_pylist())
    labels = 0
    for number, part in enumerate(parts):
        for place, text in enumerate(part):
            row = next(rows)
            found = [] if text is None else zip(scores[number][place], teacher.codes, strict=True)
            right = sorted(((s, c) for s, c in found if s >= teacher.least), key=lambda x: -x[0])
            assert (row["id"], row["text"]) == (100 * number + place, text)
            assert dict(zip(row["codes"], row["scores"], strict=True)) == {c: s for s, c in right}
            assert row["scores"] == [s for s, _ in right]
            labels += len(right)
    assert next(rows, None) is None
    assert labels > len(texts)
    assert sorted(cache.rglob("*")) == kept  # nothing was trained, nothing is left


def test_a_teacher_that_is_not_kept_is_told_before_anything_runs(kept_teacher, tmp_path):
    options = list(kept_teacher[2])
    settings = Path(options[options.index("--teacher") + 1])
    other = tmp_path / "teacher.toml"
    other.write_text(settings.read_text().replace("seed = 11", "seed = 12"))
    options[options.index("--teacher") + 1] = str(other)
    pq.write_table(pa.table({"query": ["cheap flights to paris"]}), tmp_path / "in.parquet")
    done = submit(
        *("spark-annotate", tmp_path / "in.parquet", "-o", tmp_path / "out", *options),
        master="local[1]",
    )
    assert done.returncode == 1
    assert (
        "no teacher of these settings and labels; train it by 'topiccore annotate'" in done.stdout
    )
    assert "Traceback" not in done.stdout
    assert not (tmp_path / "out").exists()
