"""Columns in, topics out: the answers of ``score`` for every kind of column."""

from __future__ import annotations

import pickle

import falcon.testing
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.counts import Counts
from batch.errors import BatchError
from batch.scoring import TOPICS, Options, Scorer
from batch.unknown import FIRST, STEP, UnknownTokens
from topiccore import MAX_QUERY_BYTES
from topiccore._scoring import tokenize

QUERIES = [
    *("used honda civic", "", "no such words", "red dress running shoes", "🚗🚗 東京"),
    *("x " * 300, "running shoes dallas pizza beach flight", "honda dallas!"),
]
TYPES = [
    *(pa.string(), pa.large_string(), pa.string_view()),
    *(pa.binary(), pa.large_binary(), pa.binary_view()),
    *(pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.uint32(), pa.large_binary())),
    pa.json_(),
]
WORDS = ["used", "honda", "civic", "cheap", "hotel", "東", "🚗", "dallas", "red", "dress", "x"]


def expected(model, query, **options):
    if query is None:
        return []
    return [{"code": x.code, "score": x.score} for x in model.score(query, **options)]


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_every_layout(any_model, kind):
    queries = [*QUERIES, None, *QUERIES, None]
    column = pa.array(queries).cast(kind)
    for options in ({}, {"min_score": 0.3}, {"min_score": 0.0, "max_labels": 3}):
        scorer = Scorer(any_model, Options(**options))
        emitted = scorer.emitted(column[1:])
        topics = scorer.as_array(emitted)
        topics.validate(full=True)
        assert topics.type == TOPICS
        assert topics.to_pylist() == [expected(any_model, q, **options) for q in queries[1:]]
        assert emitted.counts.nulls == 2
        assert emitted.counts.truncated == 2
        assert emitted.counts.covered == sum(bool(row) for row in topics.to_pylist())
        codes = [item["code"] for row in topics.to_pylist() for item in row]
        assert emitted.counts.labels.tolist() == [codes.count(x.code) for x in any_model.taxonomy]


@given(
    data=st.data(),
    queries=st.lists(
        st.none() | st.lists(st.sampled_from(WORDS), max_size=4).map(" ".join), max_size=40
    ),
)
def test_dictionaries_are_scored_by_value(model, data, queries):
    column = pa.array(queries, pa.string()).dictionary_encode(
        null_encoding=data.draw(st.sampled_from(["mask", "encode"]))
    )
    first = data.draw(st.integers(0, len(queries)))
    scorer = Scorer(model, Options(min_score=0.2))
    for part, rows in ((column, queries), (column[first:], queries[first:])):
        emitted = scorer.emitted(part)
        assert scorer.as_array(emitted).to_pylist() == [
            expected(model, q, min_score=0.2) for q in rows
        ]
        assert emitted.counts.nulls == rows.count(None)


@pytest.mark.parametrize("most", [None, 0, 1, 2])
def test_topics_only_leaves_subtopics_out_before_the_limit(model, most):
    scorer = Scorer(model, Options(min_score=0.05, max_labels=most, topics_only=True))
    column = pa.array([*QUERIES, None])
    topics = {label.code for label in model.taxonomy.topics}
    rows = [
        [x for x in expected(model, q, min_score=0.05) if x["code"] in topics][:most]
        for q in [*QUERIES, None]
    ]
    assert scorer.score(column).to_pylist() == rows
    assert scorer.score(column.dictionary_encode()).to_pylist() == rows


def test_bytes_that_are_not_utf_8_are_scored_like_any_others(model):
    queries = [b"used \xff honda", b"\xc3", b"red\xfe\xffdress"]
    topics = Scorer(model, Options(min_score=0.1)).score(pa.array(queries, pa.binary()))
    assert topics.to_pylist() == [expected(model, q, min_score=0.1) for q in queries]


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_too_long_queries_have_no_topics_and_are_counted(model, kind):
    queries = ["used honda", "honda " * (MAX_QUERY_BYTES // 6 + 1), None, "used honda"]
    scorer = Scorer(model, Options(min_score=0.1))
    emitted = scorer.emitted(pa.array(queries).cast(kind))
    honda = expected(model, "used honda", min_score=0.1)
    assert scorer.as_array(emitted).to_pylist() == [honda, [], [], honda]
    assert (emitted.counts.too_long, emitted.counts.nulls) == (1, 1)


def test_nothing_but_nulls_and_nothing_at_all(model):
    scorer = Scorer(model)
    assert scorer.score(pa.nulls(3)).to_pylist() == [[], [], []]
    for kind in TYPES:
        assert scorer.score(pa.array([], kind)).to_pylist() == []


def test_other_types_are_refused(model):
    for column in (pa.array([1]), pa.array([["used"]]), pa.array([1.5]).dictionary_encode()):
        with pytest.raises(BatchError, match="not of strings"):
            Scorer(model).score(column)


def test_append_adds_one_column_to_any_others(model):
    batch = pa.record_batch({"id": [1, 2], "query": ["used honda", None], "x": [[1], None]})
    scorer = pickle.loads(pickle.dumps(Scorer(model, Options(min_score=0.1))))
    found = scorer.append(batch, "query")
    assert found.schema.names == ["id", "query", "x", "topics"]
    assert found.drop_columns(["topics"]) == batch
    assert found["topics"].to_pylist() == [expected(model, "used honda", min_score=0.1), []]
    with pytest.raises(BatchError, match=r"no column 'text'; there are 'id', 'query', 'x'"):
        scorer.append(batch, "text")
    with pytest.raises(BatchError, match="'x' already"):
        scorer.append(batch, "query", "x")


@pytest.mark.parametrize("wrong", [{"min_score": 1.1}, {"min_score": -0.1}, {"max_labels": -1}])
def test_options_out_of_range(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Options(**wrong)


def test_counts_add_up_and_come_back(model):
    scorer = Scorer(model)
    unknown = UnknownTokens(model)
    parts = []
    for queries in (QUERIES, [None, "honda qqq qqq"], []):
        column = pa.array(queries, pa.string())
        emitted = scorer.emitted(column)
        unknown.count(column, 0, emitted)
        parts.append(emitted.counts)
    total = Counts()
    for part in parts:
        total += Counts.from_json(part.as_json())
    assert total.rows == len(QUERIES) + 2
    assert total.nulls == 1
    assert total.labels.tolist() == sum(part.labels for part in parts).tolist()
    assert total.frequent["qqq"] == 2


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_unknown_tokens_are_those_without_a_row(any_model, kind):
    queries = [*QUERIES, None, "honda qqq", "qqq qqq honda zzz", "qqq"]
    column = pa.array(queries).cast(kind)
    emitted = Scorer(any_model).emitted(column)
    UnknownTokens(any_model).count(column, 0, emitted)
    tokens = [token for q in queries if q for token in tokenize(q)[0]]
    unknown = [t for q in queries if q for t in _unknown(any_model, q)]
    counts = emitted.counts
    assert (counts.tokens, counts.unknown) == (len(tokens), len(unknown))
    assert emitted.unknown.tolist() == [len(_unknown(any_model, q)) if q else 0 for q in queries]
    assert counts.frequent == {word: unknown.count(word) for word in set(unknown)}
    assert counts.frequent["qqq"] == 4
    assert counts.examined == len(queries)


def _unknown(model, query):
    code = model.taxonomy[0].code
    return model.explain(query, [code])[0].unknown


def test_which_rows_are_examined_does_not_depend_on_blocks(model):
    random = np.random.RandomState(3)
    rows = FIRST + 20 * STEP + 7
    column = pa.array([f"honda q{random.randint(50)}" for _ in range(rows)])
    unknown = UnknownTokens(model)
    scorer, parts = Scorer(model), Counts()
    whole = scorer.emitted(column)
    unknown.count(column, 0, whole)
    for start in range(0, rows, 733):
        part = column[start : start + 733]
        emitted = scorer.emitted(part)
        unknown.count(part, start, emitted)
        parts += emitted.counts
    assert whole.counts.as_json() == parts.as_json()
    assert parts.examined == parts.frequent.total() == FIRST + 21
    assert (parts.tokens, parts.unknown) == (2 * rows, rows)


def test_score_service_and_columns_agree(model):
    from service.app import create_app

    random = np.random.RandomState(5)
    queries = [" ".join(random.choice(WORDS, random.randint(1, 7))) for _ in range(200)]
    client = falcon.testing.TestClient(create_app(model))
    column = pa.array(queries)
    one, two = (Scorer(model).score(column, threads=threads) for threads in (1, 2))
    assert one == two
    for query, row in zip(queries, one.to_pylist(), strict=True):
        assert row == expected(model, query)
        answer = client.simulate_get("/v1/topics", params={"q": query}).json
        served = [(x["code"], x["score"]) for x in answer["topics"]]
        assert served == [(x["code"], round(x["score"], 4)) for x in row]
