"""The kernel's JSON against Python's, and the counts that it keeps on the way."""

import json
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from topiccore import QueryTooLongError, QueryTypeError
from topiccore._scoring import MAX_QUERY_BYTES, MAX_TOKENS, JsonWriter, Tally, score_text

QUERIES = [
    *("", "used car", "flight", "used car flight hotel", "zzqx", "Crème brûlée", "a" * 3000),
    "used car " * MAX_TOKENS,
]


def writer_of(model):
    openings = [f'{{"code":"{label.code}","score":'.encode() for label in model.taxonomy]
    return model.json_writer(b'{"topics":[', openings, (b'],"cut":false}', b'],"cut":true}'))


def tally_of(model):
    values = np.zeros(5 + len(model.taxonomy), np.uint64)
    return values, Tally(memoryview(values), [label.code for label in model.taxonomy])


def expected(answer):
    labels = ",".join(f'{{"code":"{label.code}","score":{label.score:.4f}}}' for label in answer)
    return f'{{"topics":[{labels}],"cut":{json.dumps(answer.truncated)}}}'.encode()


@pytest.mark.parametrize("query", QUERIES)
def test_writes_what_score_gives(any_model, query):
    writer = writer_of(any_model)
    assert writer.write(query, None) == expected(any_model.score(query))
    assert writer.write(query.encode(), None) == writer.write(query, None)


@given(st.text())
def test_writes_what_score_gives_for_any_text(large_model, query):
    query = query.encode("utf-8", "replace")
    assert writer_of(large_model).write(query, None) == expected(large_model.score(query))


def test_counts_as_the_answers_are(any_model):
    writer = writer_of(any_model)
    written, tally = tally_of(any_model)
    added, other = tally_of(any_model)
    for query in QUERIES:
        writer.write(query, tally)
        other.add(any_model.score(query), True)
    answers = any_model.score_batch(QUERIES)
    assert written.tolist() == added.tolist()
    assert written[:5].tolist() == [
        len(answers),
        sum(bool(answer) for answer in answers),
        sum(answer.truncated for answer in answers),
        sum(answer.tokens for answer in answers),
        sum(answer.unknown for answer in answers),
    ]
    assert written[1] > 0, "some of these queries have labels"
    for place, label in enumerate(any_model.taxonomy):
        found = sum(label.code in [one.code for one in answer] for answer in answers)
        assert written[5 + place] == found


def test_an_answer_that_was_cut_off_counts_no_label(any_model):
    values, tally = tally_of(any_model)
    tally.add(any_model.score("used car", max_labels=1), False)
    assert values[:2].tolist() == [1, 1]
    assert not values[5:].any()


@given(st.floats(0, 1))
@example(0.0)
@example(1.0)
@example(0.03125)
@example(0.09375)
@example(0.99995)
@example(5e-324)
def test_a_score_has_four_digits(score):
    for near in (score, math.nextafter(score, 0), min(1.0, math.nextafter(score, 1))):
        assert score_text(near) == b"%.4f" % near


@given(st.integers(0, 9999))
def test_a_score_in_the_middle_of_two_numbers(units):
    middle = (units + 0.5) / 10_000
    for near in (middle, math.nextafter(middle, 0), math.nextafter(middle, 1)):
        assert score_text(near) == b"%.4f" % near


@pytest.mark.parametrize("score", [-1e-9, 1.0001, math.nan, math.inf])
def test_what_is_no_score_is_told(score):
    with pytest.raises(ValueError, match=r"not in \[0, 1\]"):
        score_text(score)


def test_bad_queries_are_told_and_not_counted(any_model):
    writer = writer_of(any_model)
    values, tally = tally_of(any_model)
    with pytest.raises(QueryTypeError):
        writer.write(5, tally)
    with pytest.raises(QueryTooLongError):
        writer.write(b"a" * (MAX_QUERY_BYTES + 1), tally)
    assert not values.any()


def test_wrong_parts_are_told(any_model):
    kernel, labels = any_model._kernel, len(any_model.taxonomy)
    with pytest.raises(ValueError, match=f"1 openings for {labels} labels"):
        JsonWriter(kernel, b"", [b"x"], (b"", b""))
    with pytest.raises(TypeError):
        JsonWriter(kernel, b"", ["x"] * labels, (b"", b""))
    with pytest.raises(TypeError):
        JsonWriter(kernel, b"", [b"x"] * labels, ("", ""))
    with pytest.raises(ValueError, match="3 numbers for 1 labels"):
        Tally(memoryview(np.zeros(3, np.uint64)), ["VE"])
    with pytest.raises(ValueError, match=f"a tally of 1 labels for {labels}"):
        writer_of(any_model).write("x", Tally(memoryview(np.zeros(6, np.uint64)), ["VE"]))
