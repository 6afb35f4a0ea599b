"""Annotated texts in Parquet files: what is read, in which order, and what is refused."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from test_own_data import project, train, written  # noqa: F401

from training import bounded_counts, stored_examples
from training.bounded_counts import BucketCounts, count_bounded
from training.errors import DataError
from training.examples import CHUNK, Examples, StreamedExamples
from training.init_command import made_up
from training.stored_examples import StoredExamples, write_examples

CODES = ("A", "A1", "B")
LABELS = pa.list_(pa.struct([("code", pa.string()), ("score", pa.float64())]))


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
        for texts, targets, *_ in batches
        for text, row in zip(texts, targets.toarray(), strict=True)
    }


def test_what_is_written_is_read(tmp_path):
    examples = stored(tmp_path)
    assert len(examples) == 17
    assert examples.totals.weight == 17 * 0.5
    assert examples.totals.targets.tolist() == [1.5, 1.5, 1.25]
    assert [text for texts in examples.text_batches() for text in texts] == batch(17)[0]
    found = by_text(examples.batches([1, 0], 4))
    assert found == by_text([batch(17)])


def test_row_groups_are_whole_however_the_batches_come(tmp_path, monkeypatch):
    monkeypatch.setattr(stored_examples, "ROWS", 8)
    examples = stored(tmp_path, [batch(3), batch(20, 3), batch(0), batch(2, 23)])
    with pq.ParquetFile(examples.paths[0]) as file:
        assert [file.metadata.row_group(at).num_rows for at in range(4)] == [8, 8, 8, 1]
    assert by_text(examples.batches([0], 100)) == by_text([batch(25)])
    assert len(stored(tmp_path, [])) == 0


def test_a_large_row_group_is_read_in_pieces(tmp_path, monkeypatch):
    examples = stored(tmp_path, [batch(1000)])
    monkeypatch.setattr(stored_examples, "ROWS", 50)
    assert len(examples.groups) == 1
    assert max(len(texts) for texts in examples.text_batches()) == 50
    order = [text for part in examples.batches([3], 64) for text in part.texts]
    assert Counter(order) == Counter(batch(1000)[0])
    # A window of 4 pieces is shuffled, and no more is in memory.
    assert set(order[:200]) == set(batch(200)[0])
    assert order[:200] != batch(200)[0]


def test_small_row_groups_are_shuffled_together(tmp_path):
    path = tmp_path / "small.parquet"
    texts = [f"text {number}" for number in range(300)]
    table = pa.table({"text": texts, "labels": pa.array([[]] * 300, LABELS)})
    pq.write_table(table, path, row_group_size=10)
    examples = StoredExamples((path,), CODES, 1.0, frozenset())
    order = [text for part in examples.batches([3], 64) for text in part.texts]
    assert Counter(order) == Counter(texts)
    groups = [int(text.split()[1]) // 10 for text in order[:10]]
    assert len(set(groups)) > 1


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_two_lists_and_weights_of_texts(tmp_path, kind):
    path = tmp_path / "lists.parquet"
    pq.write_table(
        pa.table(
            {
                "text": pa.array(["One  TWO", "three", "four"], kind),
                "codes": pa.array([["B", "A"], [], ["A1"]], pa.large_list(kind)),
                "scores": pa.array([[0.25, 0.5], [], [1.0]], pa.list_(pa.float64())),
                "weight": [2, 1, 4],
                "other": [1, 2, 3],
            }
        ),
        path,
    )
    examples = StoredExamples((path,), CODES, 0.5, frozenset({"three"}))
    found = {
        text: (row.tolist(), weight)
        for texts, targets, weights in examples.batches([0], 10)
        for text, row, weight in zip(texts, targets.toarray(), weights.tolist(), strict=True)
    }
    assert found == {"one two": ([0.5, 0, 0.25], 1.0), "four": ([0, 1, 0], 2.0)}
    assert examples.totals[:3] == (2, 1, 3.0)
    assert examples.totals.targets.tolist() == [0.5, 2.0, 0.25]


def test_progress_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(stored_examples, "TOLD", 6)
    monkeypatch.setattr(stored_examples, "ROWS", 5)
    lines: list[str] = []
    path = stored(tmp_path).paths[0]
    examples = StoredExamples((path,), CODES, 1.0, frozenset({"text 1"}), lines.append)
    assert len(examples) == 16
    assert lines == ["annotated texts: 10 checked", "annotated texts: 15 checked"]
    assert len(list(examples.text_batches())) == 4
    assert len(list(examples.batches([0], 100))) == 1
    assert lines[2:4] == ["annotated texts: 10 read", "annotated texts: 15 read"]
    assert {line.split(" ", 3)[3] for line in lines[4:]} == {"learned from"}


def test_each_pass_has_an_order_of_its_own_and_a_seed_fixes_it(tmp_path):
    examples = stored(tmp_path, [batch(500), batch(500, 500)])

    def order(*seed):
        return [text for part in examples.batches(seed, 64) for text in part.texts]

    assert order(1, 0) == order(1, 0)
    assert order(1, 0) != order(1, 1) != order(2, 1)
    assert Counter(order(1, 0)) == Counter(batch(1000)[0])
    assert max(len(part.texts) for part in examples.batches([1], 64)) == 64


def test_held_out_texts_are_left_out(tmp_path):
    examples = stored(tmp_path, held_out={"text 3", "text 12", "other"})
    assert len(examples) == 15
    assert examples.totals.held_out == 2
    assert not {"text 3", "text 12"} & {text for texts in examples.text_batches() for text in texts}
    assert not {"text 3", "text 12"} & set(by_text(examples.batches([0], 100)))


class Nothing:
    """Features that hold nothing."""

    def transform(self, texts):
        return sp.csr_matrix((len(texts), 1)), np.zeros((len(texts), 0))


def test_examples_in_memory_come_between(tmp_path):
    texts, targets = batch(3 * CHUNK, 10**6)
    memory = Examples(texts, targets, np.ones(len(texts), np.float32))
    many = [batch(CHUNK, number * CHUNK) for number in range(6)]
    streamed = StreamedExamples(memory, stored(tmp_path, many))

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


def test_few_stored_examples_come_between_many_in_memory(tmp_path):
    texts, targets = batch(4 * CHUNK, 10**6)
    memory = Examples(texts, targets, np.ones(len(texts), np.float32))
    streamed = StreamedExamples(memory, stored(tmp_path, [batch(2 * CHUNK)]))
    weights = [float(chunk.weights[0]) for chunk in streamed.chunks(Nothing(), 3)(0)]
    assert weights == [1.0, 0.5, 1.0, 1.0, 0.5, 1.0]


def test_nothing_is_written_when_it_fails(tmp_path):
    def broken():
        yield batch(3)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_examples(tmp_path / "x.parquet", broken(), CODES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (["x"], [[{"code": "C", "score": 0.5}]], r"row 0: label 'C' is not in the taxonomy"),
        (["x"], [[{"code": "A", "score": 1.5}]], r"row 0: score 1.5 is not in \[0, 1\]"),
        (["x"], [[{"code": "A", "score": float("nan")}]], "row 0: score nan is not in"),
        (["x"], [[{"code": "A", "score": None}]], "row 0: score nan is not in"),
        (["x"], [[{"code": None, "score": 0.5}]], "row 0: label None is not in"),
        (["x", "y"], [[], [None]], "row 1: label None is not in"),
        (
            ["x", "y"],
            [[], [{"code": "A", "score": 0.5}, {"code": "C", "score": 2.0}]],
            "row 1: label 'C' is not",
        ),
        (["x", "y"], [[], [{"code": "A", "score": 0.5}] * 2], "row 1: label 'A' stands twice"),
        (["x", None], [[], []], "row 1: no text"),
        (["x", "y"], [[], None], "row 1: no labels"),
    ],
)
def test_bad_rows_are_told(tmp_path, texts, labels, message):
    path = tmp_path / "bad.parquet"
    pq.write_table(pa.table({"text": texts, "labels": pa.array(labels, LABELS)}), path)
    with pytest.raises(DataError, match=r"bad\.parquet, row group 0, " + message):
        len(StoredExamples((path,), CODES, 1.0, frozenset()))


def test_bad_files_are_told(tmp_path):
    path = tmp_path / "bad.parquet"
    path.write_bytes(b"no parquet")
    with pytest.raises(DataError, match=r"bad\.parquet: no Parquet file"):
        len(StoredExamples((path,), CODES, 1.0, frozenset()))
    pq.write_table(pa.table({"text": ["x"]}), path)
    with pytest.raises(DataError, match="no column 'labels'"):
        len(StoredExamples((path,), CODES, 1.0, frozenset()))


NO_LABEL = pa.array([[]], LABELS)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": ["x"], "labels": [5]}, "column 'labels' is int64, not list<struct<code"),
        ({"text": [5], "labels": NO_LABEL}, "column 'text' is int64, not string"),
        ({"text": ["x"], "labels": NO_LABEL, "weight": ["y"]}, "column 'weight' is string"),
        ({"text": ["x"], "labels": [[{"code": "A"}]]}, "column 'labels' is list<"),
        ({"text": ["x"], "codes": [["A"]]}, "no column 'labels'"),
        ({"text": ["x"], "codes": [["A"]], "scores": [["y"]]}, "column 'scores' is list<"),
        ({"text": ["x"], "codes": [["A"]], "scores": [[]]}, "column 'scores' is list<"),
        (
            {"text": ["x"], "codes": [["A", "B"]], "scores": [[0.5]]},
            "row group 0, row 0: 2 codes, 1 scores",
        ),
        (
            {"text": ["x"], "labels": NO_LABEL, "weight": [-1.0]},
            "row group 0, row 0: weight -1.0 is no number from 0 on",
        ),
    ],
)
def test_bad_columns_are_told(tmp_path, columns, message):
    path = tmp_path / "bad.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(DataError, match=r"bad\.parquet(:|,) " + message):
        len(StoredExamples((path,), CODES, 1.0, frozenset()))


def test_a_bad_row_is_counted_from_the_start_of_its_group(tmp_path, monkeypatch):
    path = tmp_path / "bad.parquet"
    labels = [[{"code": "A", "score": 0.5}]] * 30
    labels[27] = [{"code": "A", "score": 0.5}, {"code": "B", "score": -0.5}]
    texts = [f"text {number}" for number in range(30)]
    table = pa.table({"text": texts, "labels": pa.array(labels, LABELS)})
    pq.write_table(table, path, row_group_size=20)
    monkeypatch.setattr(stored_examples, "ROWS", 3)
    with pytest.raises(DataError, match=r"row group 1, row 7: score -0.5 is not in"):
        len(StoredExamples((path,), CODES, 1.0, frozenset()))


def test_a_text_that_is_not_utf_8_is_told(tmp_path):
    path = tmp_path / "bad.parquet"
    texts = pa.array([b"x", b"\xff"], pa.binary()).view(pa.string())
    table = pa.table({"text": texts, "labels": pa.array([[], []], LABELS)})
    pq.write_table(table, path)
    with pytest.raises(DataError, match=r"bad\.parquet, row group 0: .*UTF"):
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


def test_counts_are_too_low_by_at_most_the_floor(monkeypatch):
    # Words that come in bursts, between which they are forgotten.
    monkeypatch.setattr(bounded_counts, "_TOGETHER", 1)
    random = np.random.default_rng(4)
    counts, exact, batches = BucketCounts(most=60), Counter(), []
    for turn in range(200):
        burst = np.repeat(turn % 25, turn % 4 + 1)
        found = np.concatenate([burst, random.integers(100, 10**6, 30)]).astype(np.uint32)
        counts.add(found)
        exact.update(found.tolist())
        batches.append([str(bucket) for bucket in found.tolist()])
    buckets, seen = counts.counts()
    found = dict(zip(buckets.tolist(), seen.tolist(), strict=True))
    assert 0 < len(found) <= 60
    words = count_bounded(batches, most=60)
    assert 0 < len(words) <= 60
    for bucket, count in exact.items():
        assert count - counts.floor <= found.get(bucket, 0) <= count
        assert count - counts.floor <= words.get(str(bucket), 0) <= count


def test_words_are_counted_alike():
    batches = [["a", "b", "a"], ["c", "a", "d"], ["e", "a", "b"]]
    assert count_bounded(batches) == Counter("abacadeab")
    assert count_bounded(Counter(batch) for batch in batches) == Counter("abacadeab")
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
