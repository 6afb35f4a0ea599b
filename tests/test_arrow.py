"""Arrow columns in, Arrow arrays out: the same answers as score, whoever makes the column."""

import gc
import sys
import weakref

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topiccore import MAX_QUERY_BYTES, QueryTooLongError
from topiccore._scoring import Column, import_columns

WORDS = ["used", "honda", "civic", "cheap", "hotel", "東", "🚗", "dallas", "red", "dress", "x"]
QUERIES = [
    *("used honda civic", "", "no such words", "red dress running shoes", "🚗🚗 東京", "Café"),
    *("x " * 300, "running shoes dallas pizza beach flight", "a" * 12, "honda dallas!", "b" * 13),
]
TYPES = {
    "string": pa.string(),
    "large_string": pa.large_string(),
    "string_view": pa.string_view(),
    "binary": pa.binary(),
    "large_binary": pa.large_binary(),
    "binary_view": pa.binary_view(),
}
TEXTS = st.lists(st.sampled_from(WORDS) | st.text(st.characters(codec="utf-8")), max_size=8).map(
    " ".join
)
COLUMNS = st.lists(TEXTS | st.none(), max_size=30)


def assert_answers(model, answers, queries, **options) -> None:
    """The answers are those of ``score``, bit for bit; a null's is empty."""
    assert len(answers) == len(queries)
    assert answers.offsets[0] == 0
    assert answers.offsets[-1] == len(answers.labels) == len(answers.scores)
    for i, query in enumerate(queries):
        expected = [] if query is None else model.score(query, **options)
        assert answers[i] == [(label.code, label.score) for label in expected]
        for name in ("truncated", "tokens", "unknown"):
            assert getattr(answers, name)[i] == (0 if query is None else getattr(expected, name))


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("options", [{}, {"min_score": 0.3}, {"min_score": 0, "max_labels": 3}])
def test_every_layout(any_model, kind, options):
    queries = [*QUERIES, None, *QUERIES, None]
    column = pa.array([q and q.encode() for q in queries], pa.binary()).cast(TYPES[kind])
    assert_answers(any_model, any_model.score_arrow(column, **options), queries, **options)


@given(data=st.data(), kind=st.sampled_from(list(TYPES)), threads=st.sampled_from([1, 3]))
def test_slices_and_chunks(model, data, kind, threads):
    queries = data.draw(COLUMNS)
    whole = pa.array([q if q is None else q.encode() for q in queries], pa.binary())
    first = data.draw(st.integers(0, len(queries)))
    second = data.draw(st.integers(first, len(queries)))
    column = whole.cast(TYPES[kind])
    sliced = column[first:second]
    answers = model.score_arrow(sliced, min_score=0.2, threads=threads)
    assert_answers(model, answers, queries[first:second], min_score=0.2)
    chunks = pa.chunked_array([column[:first], sliced, column[second:]], TYPES[kind])
    answers = model.score_arrow(chunks, min_score=0.2, threads=threads)
    assert_answers(model, answers, queries, min_score=0.2)


@pytest.mark.parametrize("threads", [1, 2, 5, 64])
def test_threads_change_nothing(model, threads):
    random = np.random.RandomState(4)
    queries = [" ".join(random.choice(WORDS, random.randint(0, 9))) for _ in range(20_000)]
    one = model.score_arrow(pa.array(queries), min_score=0.4)
    many = model.score_arrow(pa.array(queries), min_score=0.4, threads=threads)
    for name in ("offsets", "labels", "scores", "truncated", "tokens", "unknown"):
        assert np.array_equal(getattr(one, name), getattr(many, name))
    assert_answers(
        model, model.score_arrow(pa.array(queries[:50]), min_score=0.4), queries[:50], min_score=0.4
    )


def test_bytes_that_are_no_utf8(model):
    queries = [b"used\xff honda", b"\xe6\x9d", b"red \xed\xa0\x80 dress", None]
    assert_answers(
        model, model.score_arrow(pa.array(queries), min_score=0.1), queries, min_score=0.1
    )


# --- the array that comes out --------------------------------------------------------------------


def test_answers_become_an_arrow_list_array_without_a_copy(model):
    answers = model.score_arrow(pa.array([*QUERIES, None]), min_score=0.3)
    array = pa.array(answers)
    array.validate(full=True)
    assert array.type == pa.list_(
        pa.field(
            "item",
            pa.struct(
                [
                    pa.field("label", pa.dictionary(pa.int32(), pa.string()), nullable=False),
                    pa.field("score", pa.float64(), nullable=False),
                ]
            ),
            nullable=False,
        )
    )
    assert array.to_pylist() == [
        [{"label": code, "score": score} for code, score in answers[i]] for i in range(len(answers))
    ]
    values = array.values
    assert array.offsets.buffers()[1].address == answers.offsets.ctypes.data
    assert values.field("label").indices.buffers()[1].address == answers.labels.ctypes.data
    assert values.field("score").buffers()[1].address == answers.scores.ctypes.data
    assert values.field("label").dictionary.to_pylist() == [x.code for x in model.taxonomy]
    assert pa.DataType._import_from_c_capsule(answers.__arrow_c_schema__()) == array.type


def test_the_array_keeps_its_buffers_and_lets_them_go(model):
    answers = model.score_arrow(pa.array(QUERIES), min_score=0.3)
    scores = weakref.ref(answers.scores)
    expected = [answers[i] for i in range(len(answers))]
    array = pa.array(answers)
    del answers
    gc.collect()
    found = array.to_pylist()
    assert [[(x["label"], x["score"]) for x in labels] for labels in found] == expected
    assert scores() is not None
    del array
    gc.collect()
    assert scores() is None


def test_capsules_that_no_one_takes_are_freed(model):
    answers = model.score_arrow(pa.array(QUERIES), min_score=0.3)
    before = sys.getrefcount(answers.scores)
    capsules = answers.__arrow_c_array__()
    during = sys.getrefcount(answers.scores)
    del capsules
    after = sys.getrefcount(answers.scores)
    assert before == after < during


def test_no_rows(model):
    for column in (pa.array([], pa.string()), pa.chunked_array([], pa.string())):
        answers = model.score_arrow(column, threads=4)
        assert len(answers) == 0
        assert pa.array(answers).to_pylist() == []


def test_rows_without_labels(model):
    answers = model.score_arrow(pa.array(["x", None]), max_labels=0)
    assert pa.array(answers).to_pylist() == [[], []]


def test_answers_by_position(model):
    answers = model.score_arrow(pa.array(["", "used honda", None]), min_score=0.2)
    assert answers[-2] == answers[1] != []
    assert answers[-1] == []
    for place in (3, -4):
        with pytest.raises(IndexError, match=f"query {place} of 3"):
            answers[place]


# --- other libraries -----------------------------------------------------------------------------


def test_polars(model):
    polars = pytest.importorskip("polars")
    queries = [*QUERIES, None]
    answers = model.score_arrow(polars.Series(queries), min_score=0.3)
    assert_answers(model, answers, queries, min_score=0.3)
    series = polars.Series(answers)
    assert series.list.len().to_list() == np.diff(answers.offsets).tolist()
    assert series[0].to_list() == [{"label": c, "score": s} for c, s in answers[0]]


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("queries", [["used"], "used", b"used", None, 5, np.array(["used"])])
def test_only_arrow_arrays(model, queries):
    with pytest.raises(TypeError, match=f"no Arrow array of strings, but {type(queries).__name__}"):
        model.score_arrow(queries)


@pytest.mark.parametrize(
    ("column", "match"),
    [
        (pa.array([1, 2]), "format 'l'"),
        (pa.array([["used"]]), r"format '\+l'"),
        (pa.array([None, None]), "format 'n'"),
        (pa.chunked_array([[1.5]]), "format 'g'"),
        (pa.array(["used"]).dictionary_encode(), "dictionary-encoded"),
        (pa.table({"query": ["used"]}), r"format '\+s'"),
        (pa.record_batch({"query": ["used"]}), r"format '\+s'"),
    ],
)
def test_only_columns_of_strings(model, column, match):
    with pytest.raises(TypeError, match=match):
        model.score_arrow(column)


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("kind", ["string", "large_string", "string_view"])
def test_a_query_too_long_is_named(model, threads, kind):
    longest = "x" * MAX_QUERY_BYTES
    fine = pa.array(["used", longest, None], TYPES[kind])
    assert len(model.score_arrow(fine, threads=threads)) == 3
    queries = ["used"] * 9000
    queries[4999] = queries[8999] = longest + "y"
    column = pa.chunked_array([queries[:10], queries[10:]], TYPES[kind])
    with pytest.raises(QueryTooLongError, match=r"^query 4999: the query has 1048577 bytes"):
        model.score_arrow(column, threads=threads)


def forged(kind: str, **changes: np.ndarray) -> pa.Array:
    """A column of two strings of 20 bytes with another buffer of offsets or views."""
    column = pa.array(["used honda civic 123", "red dress shoes 4567"], TYPES[kind])
    buffers = column.buffers()
    buffers[1] = pa.py_buffer(changes["places"].tobytes())
    return pa.Array.from_buffers(TYPES[kind], 2, buffers)


@pytest.mark.parametrize(
    "column",
    [
        pytest.param(lambda: forged("string", places=np.array([0, -5, 40], "<i4")), id="negative"),
        pytest.param(lambda: forged("string", places=np.array([9, 3, 40], "<i4")), id="descending"),
        pytest.param(
            lambda: forged("large_string", places=np.array([9, 3, 40], "<i8")), id="large"
        ),
        pytest.param(
            lambda: forged("string_view", places=np.array([-1, 0, 0, 0] * 2, "<i4")), id="size"
        ),
        pytest.param(
            lambda: forged("string_view", places=np.array([20, 0, 7, 0] * 2, "<i4")), id="buffer"
        ),
        pytest.param(
            lambda: forged("string_view", places=np.array([20, 0, 0, -1] * 2, "<i4")), id="place"
        ),
    ],
)
def test_offsets_that_cannot_be(model, column):
    with pytest.raises(ValueError, match="query 0: the Arrow column is broken"):
        model.score_arrow(column())


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_below_1(model, threads):
    with pytest.raises(ValueError, match=f"threads is {threads}, below 1"):
        model.score_arrow(pa.array(["used"]), threads=threads)


def test_arguments_are_checked_as_in_score(model):
    with pytest.raises(ValueError, match="min_score"):
        model.score_arrow(pa.array(["used"]), min_score=2)
    with pytest.raises(ValueError, match="max_labels"):
        model.score_arrow(pa.array(["used"]), max_labels=-1)


def test_columns_are_released():
    buffer = bytearray(b"used honda")
    column = pa.Array.from_buffers(
        pa.string(),
        1,
        [None, pa.py_buffer(np.array([0, 10], "<i4").tobytes()), pa.py_buffer(buffer)],
    )
    (imported,) = import_columns(column)
    assert isinstance(imported, Column)
    assert len(imported) == 1
    del column
    with pytest.raises(BufferError):
        buffer.clear()  # the column still reads it
    del imported
    buffer.clear()
