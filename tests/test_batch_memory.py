"""``topiccore batch`` with many labels a row: pieces of bounded size, the same rows and bytes."""

from __future__ import annotations

import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from batch_support import QUERIES, expected, rows_of

import batch.run
from batch import pipeline, scoring
from batch.scoring import Options, Scorer
from batch.writers import Renderer
from topiccore.cli import main

WORDS = ["used", "honda", "civic", "cheap", "hotel", "dallas", "red", "dress", "qq"]


@pytest.fixture(scope="module")
def queries():
    random = np.random.RandomState(3)
    drawn = [" ".join(random.choice(WORDS, random.randint(1, 6))) for _ in range(120)]
    return [*drawn[:60], *QUERIES, *drawn[60:]]


@pytest.fixture
def small(monkeypatch):
    """Few labels a piece, few rows a step."""
    monkeypatch.setattr(batch.run, "LABELS", 20)
    monkeypatch.setattr(scoring, "_FIRST_STEP", 5)
    monkeypatch.setattr(scoring, "_STEP", 7)


@pytest.mark.parametrize("output", ["out.parquet", "out.jsonl", "out.tsv.gz"])
@pytest.mark.parametrize("least", ["0", "0.3"])
@pytest.mark.usefixtures("small")
def test_pieces_are_bounded_and_bytes_the_same(
    artifact_path, model, queries, tmp_path, monkeypatch, output, least
):
    pieces: list[tuple[int, int]] = []
    on_their_way = most = 0
    lock = threading.Lock()
    render = Renderer.render
    write = batch.run._write

    def rendered(self, kept, emitted):
        nonlocal on_their_way, most
        with lock:
            pieces.append((len(kept), len(emitted.labels)))
            on_their_way += 1
            most = max(most, on_their_way)
        return render(self, kept, emitted)

    def written(*arguments):
        nonlocal on_their_way
        with lock:
            on_their_way -= 1
        return write(*arguments)

    monkeypatch.setattr(Renderer, "render", rendered)
    monkeypatch.setattr(batch.run, "_write", written)
    source = tmp_path / "in.parquet"
    numbers = pa.array(range(len(queries)))
    pq.write_table(pa.table({"query": queries, "n": numbers}), source)
    found = []
    for threads in (1, 2, 4):
        out = tmp_path / str(threads) / output
        words = ["batch", str(source), "-o", str(out), "--threads", str(threads), "--keep-all"]
        words += ["--min-score", least, "--model", str(artifact_path), "--quiet"]
        assert main(words) == 0
        assert rows_of(out) == [expected(model, q, min_score=float(least)) for q in queries]
        found.append(out.read_bytes())
        assert most <= 2 * (threads + pipeline._AHEAD) + 1
        assert on_their_way == 0
        assert len(pieces) > 10
        assert all(rows == 1 or labels <= 20 for rows, labels in pieces)
        assert sum(labels for _, labels in pieces) == sum(map(len, rows_of(out)))
        pieces.clear()
    assert found[0] == found[1] == found[2]


@pytest.mark.usefixtures("small")
def test_a_summary_of_pieces_is_that_of_whole_blocks(
    artifact_path, queries, tmp_path, monkeypatch, capfd
):
    lines = "".join(f'{{"query": "{q}"}}\n' for q in queries if '"' not in q and "\\" not in q)
    (tmp_path / "in.jsonl").write_text(lines + '{"query": 5}\n{}\n' * 3)
    words = ["batch", str(tmp_path / "in.jsonl"), "--model", str(artifact_path)]
    words += ["--min-score", "0.1", "-o"]
    told = []
    for labels in (20, 1 << 18):
        monkeypatch.setattr(batch.run, "LABELS", labels)
        assert main([*words, str(tmp_path / f"{labels}.jsonl")]) == 0
        told.append(capfd.readouterr().err.split("\n", 1)[1])
    assert told[0] == told[1]
    assert "6 rows without a query" in told[0]
    assert (tmp_path / "20.jsonl").read_bytes() == (tmp_path / "262144.jsonl").read_bytes()


@pytest.mark.parametrize("most", [1, 5, 30, 10_000])
@pytest.mark.parametrize("options", [Options(0.2), Options(0.0, 3), Options(0.1, 2, True)])
@pytest.mark.parametrize("kind", ["plain", "dictionary", "larger dictionary", "many values"])
def test_the_first_rows_that_fit(model, queries, monkeypatch, most, options, kind):
    monkeypatch.setattr(scoring, "_FIRST_STEP", 5)
    monkeypatch.setattr(scoring, "_STEP", 7)
    texts = pa.array([*queries[:30], None, *queries[:30]])
    column = texts
    if kind == "dictionary":
        column = pa.array([queries[i % 5] for i in range(60)] + [None]).dictionary_encode()
        column = pa.concat_arrays([column.slice(60), column.slice(0, 60)])
    elif kind == "larger dictionary":
        column = texts.dictionary_encode().slice(20, 9)
    elif kind == "many values":
        column = texts.dictionary_encode()
    scorer = Scorer(model, options)
    whole = scorer.emitted(column)
    found = scorer.emitted(column, most=most)
    rows = found.counts.rows
    assert rows == max(1, sum(end <= most for end in whole.offsets[1:].tolist()))
    assert found.offsets.tolist() == whole.offsets[: rows + 1].tolist()
    assert found.labels.tolist() == whole.labels[: found.offsets[-1]].tolist()
    assert found.scores.tolist() == whole.scores[: found.offsets[-1]].tolist()
    alone = scorer.emitted(column.slice(0, rows))
    assert found.counts.as_json() == alone.counts.as_json()
    assert found.unknown.tolist() == alone.unknown.tolist()


def test_what_is_left_of_an_item_comes_next():
    def work(item):
        return item[:3], item[3:]

    def rest(result):
        left = result[1]
        return [left[i : i + 5] for i in range(0, len(left), 5)]

    items = [list(range(start, start + 40)) for start in range(0, 400, 40)]
    for threads in (1, 3):
        with pipeline.in_order(items, work, threads, rest) as results:
            found = [number for done, _ in results for number in done]
        assert found == list(range(400))
