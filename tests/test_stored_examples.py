"""Annotated texts in Parquet files: what is read, in which order, and what is refused."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from test_own_data import project, train, written  # noqa: F401

from training import bounded_counts
from training.bounded_counts import BucketCounts, count_bounded
from training.errors import DataError
from training.examples import CHUNK, Examples, StreamedExamples
from training.init_command import made_up
from training.stored_examples import StoredExamples, write_examples

CODES = ("A", "A1", "B")


def batch(count: int, start: int = 0):
    texts = [f"text {number}" for number in range(start, start + count)]
    targets = np.zeros((count, 3), np.float32)
    targets[np.arange(count), np.arange(start, start + count) % 3] = 0.5
    return texts, sp.csr_matrix(targets)


def stored(folder, batches=None, held_out=frozenset()) -> StoredExamples:
    path = folder / "annotated.parquet"
    write_examples(path, iter([batch(10), batch(7, 10)] if batches is None else batches), CODES)
    return StoredExamples((path,), CODES, 0.5, frozenset(held_out))


def by_text(batches) -> dict:
    return {
        text: row.tolist()
        for texts, targets in batches
        for text, row in zip(texts, targets.toarray(), strict=True)
    }


def test_what_is_written_is_read(tmp_path):
    examples = stored(tmp_path)
    assert len(examples) == 17
    assert examples.totals[1].tolist() == [3.0, 3.0, 2.5]
    assert [len(texts) for texts in examples.text_batches()] == [10, 7]
    found = by_text(examples.batches([1, 0], 4))
    assert found == by_text([batch(17)])


def test_each_pass_has_an_order_of_its_own_and_a_seed_fixes_it(tmp_path):
    examples = stored(tmp_path, [batch(500), batch(500, 500)])

    def order(*seed):
        return [text for texts, _ in examples.batches(seed, 64) for text in texts]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1) != order(2, 1)
    assert Counter(order(1, 0)) == Counter(batch(1000)[0])
    assert max(len(texts) for texts, _ in examples.batches([1], 64)) == 64


def test_held_out_texts_are_left_out(tmp_path):
    examples = stored(tmp_path, held_out={"text 3", "text 12", "other"})
    assert len(examples) == 15
    assert not {"text 3", "text 12"} & set(by_text(examples.batches([0], 100)))


def test_examples_in_memory_come_between(tmp_path):
    texts, targets = batch(3 * CHUNK, 10**6)
    memory = Examples(texts, targets, np.ones(len(texts), np.float32))
    many = [batch(CHUNK, number * CHUNK) for number in range(6)]
    streamed = StreamedExamples(memory, stored(tmp_path, many))

    class Nothing:
        def transform(self, texts):
            return sp.csr_matrix((len(texts), 1)), np.zeros((len(texts), 0))

    chunks = list(streamed.chunks(Nothing(), 3)(0))
    assert sum(len(chunk.weights) for chunk in chunks) == len(streamed) == 9 * CHUNK
    weights = [float(chunk.weights[0]) for chunk in chunks]
    assert weights.count(1.0) == 3
    assert weights != sorted(weights)
    assert weights != sorted(weights, reverse=True)
    expected = (memory.targets.sum(axis=0) + 0.5 * sum(x[1].sum(axis=0) for x in many)) / (
        3 * CHUNK + 0.5 * 6 * CHUNK
    )
    assert streamed.prior() == pytest.approx(np.asarray(expected).ravel())


def test_nothing_is_written_when_it_fails(tmp_path):
    def broken():
        yield batch(3)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_examples(tmp_path / "x.parquet", broken(), CODES)
    assert list(tmp_path.iterdir()) == []


LABELS = pa.list_(pa.struct([("code", pa.string()), ("score", pa.float64())]))


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (["x"], [[{"code": "C", "score": 0.5}]], r"row group 0: label 'C' is not in the taxonomy"),
        (["x"], [[{"code": "A", "score": 1.5}]], r"row group 0: score 1.5 is not in \[0, 1\]"),
        (["x"], [[{"code": "A", "score": float("nan")}]], "row group 0: score nan is not in"),
        (["x", None], [[], []], "row group 0: row 1 has no text"),
        (["x", "y"], [[], None], "row group 0: row 1 has no labels"),
    ],
)
def test_bad_rows_are_told(tmp_path, texts, labels, message):
    path = tmp_path / "bad.parquet"
    pq.write_table(pa.table({"text": texts, "labels": pa.array(labels, LABELS)}), path)
    with pytest.raises(DataError, match=r"bad\.parquet, " + message):
        len(StoredExamples((path,), CODES, 1.0, frozenset()))


def test_bad_files_are_told(tmp_path):
    path = tmp_path / "bad.parquet"
    path.write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"bad\.parquet: no Parquet file"):
        len(StoredExamples((path,), CODES, 1.0, frozenset()))
    pq.write_table(pa.table({"text": ["x"]}), path)
    with pytest.raises(DataError, match="no column 'labels'"):
        len(StoredExamples((path,), CODES, 1.0, frozenset()))
    pq.write_table(pa.table({"text": ["x"], "labels": [5]}), path)
    with pytest.raises(DataError, match="row group 0: "):
        len(StoredExamples((path,), CODES, 1.0, frozenset()))


# --- counting ------------------------------------------------------------------------------------


def test_counts_are_exact_while_they_fit(monkeypatch):
    monkeypatch.setattr(bounded_counts, "_TOGETHER", 50)
    found = np.random.default_rng(0).integers(0, 40, 1000).astype(np.uint32)
    counts = BucketCounts()
    for part in np.array_split(found, 30):
        counts.add(part)
    exact = Counter(found.tolist())
    for least in (1, 20, 30, 1000):
        expected = sorted(bucket for bucket, count in exact.items() if count >= least)
        assert counts.frequent(least, 100).tolist() == expected
    assert len(counts.frequent(1, 7)) == 7
    assert counts.floor == 0


def test_the_rarest_are_forgotten_beyond_what_fits(monkeypatch):
    monkeypatch.setattr(bounded_counts, "_TOGETHER", 100)
    counts = BucketCounts(most=50)
    random = np.random.default_rng(1)
    for _ in range(100):
        often = random.integers(0, 5, 80).astype(np.uint32)
        counts.add(np.concatenate([often, random.integers(1000, 10**6, 40).astype(np.uint32)]))
    assert counts.floor > 0
    assert counts.frequent(1000, 10).tolist() == [0, 1, 2, 3, 4]


def test_words_are_counted_alike():
    batches = [["a", "b", "a"], ["c", "a", "d"], ["e", "a", "b"]]
    assert count_bounded(batches) == Counter("abacadeab")
    few = count_bounded(batches, most=2)
    assert few["a"] >= 3
    assert len(few) <= 2


# --- from a project ------------------------------------------------------------------------------


def test_a_project_learns_from_annotated_texts(project, capsys):  # noqa: F811
    codes = ["TR", "TR1", "TR2", "FD", "FD1", "FD2"]
    texts = [f"ferry ticket {number}" for number in range(200)] + [made_up()[0][0]]
    targets = sp.csr_matrix(np.tile([0.95, 0.9, 0, 0, 0, 0], (len(texts), 1)).astype(np.float32))
    write_examples(project / "annotated.parquet", iter([(texts, targets)]), codes)
    assert train(project, texts='"annotated.parquet"') == 0
    assert "annotated texts in 1 files" in capsys.readouterr().err
    import topiccore

    model = topiccore.load(project / "run" / "artifact")
    assert [x.code for x in model.score("ferry ticket")] == ["TR", "TR1"]
    assert train(project, texts='"none/*.parquet"') == 1
    assert "annotations.texts: no file is called" in capsys.readouterr().err
