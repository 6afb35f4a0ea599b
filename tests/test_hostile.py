"""Input made to break the kernel: huge, invalid, every code point.  Run under sanitizers too."""

import numpy as np
import pyarrow as pa
import pytest

from topiccore import MAX_QUERY_BYTES, MAX_TOKENS, QueryTooLongError, reference
from topiccore._scoring import features, tokenize

MEGABYTE = 1 << 20
UNITS = ["x", "é", "東", "🚗", "ﷺ", "½", "가", "\u0301", " ", "\x00", "İ", "-", "\ud800"]
BYTES = [b"\x80", b"\xff", b"\xc3", b"\xe6\x9d", b"\xf0\x9f\x9a", b"\xed\xa0\x80", b"\xf4\x90"]


def assert_scored(model, query: str | bytes) -> None:
    """The kernel and the reference agree on the tokens that count, and an answer comes."""
    data = query if isinstance(query, bytes) else query.encode("utf-8", "replace")
    tokens, truncated = tokenize(query)
    assert len(tokens) <= MAX_TOKENS
    assert features([query])[2].tolist() == [len(tokens)]
    answer = model.score(query, min_score=0.1)
    assert answer.truncated is truncated
    batch = model.score_arrow(pa.array([data], pa.large_binary()), min_score=0.1)
    assert batch[0] == [(label.code, label.score) for label in answer]
    assert batch.truncated.tolist() == [truncated]


@pytest.mark.parametrize("unit", UNITS + BYTES, ids=ascii)
def test_as_much_of_one_thing_as_fits(any_model, unit):
    size = len(unit if isinstance(unit, bytes) else unit.encode("utf-8", "replace"))
    assert_scored(any_model, unit * (MAX_QUERY_BYTES // size))


@pytest.mark.parametrize("unit", UNITS + BYTES, ids=ascii)
def test_as_many_tokens_of_one_thing_as_fit(any_model, unit):
    size = len(unit if isinstance(unit, bytes) else unit.encode("utf-8", "replace")) + 1
    blank = b" " if isinstance(unit, bytes) else " "
    assert_scored(any_model, (unit + blank) * (MAX_QUERY_BYTES // size))


@pytest.mark.parametrize("unit", ["x", "東", "x ", b"x", b"\xff"], ids=ascii)
def test_ten_megabytes_are_refused(any_model, unit):
    query = unit * (10 * MEGABYTE)
    for call in (any_model.score, tokenize, any_model.explain):
        with pytest.raises(QueryTooLongError, match=f"at most {MAX_QUERY_BYTES}"):
            call(query)
    with pytest.raises(QueryTooLongError, match="query 1: "):
        any_model.score_batch(["fine", query])
    with pytest.raises(QueryTooLongError, match="query 1: "):
        any_model.score_arrow(pa.array(["fine", query], pa.large_binary()))


def test_a_million_tokens_are_refused_and_half_a_million_cut(any_model):
    with pytest.raises(QueryTooLongError):
        any_model.score("x " * 1_000_000)
    assert any_model.score("x " * (MAX_QUERY_BYTES // 2)).truncated


def test_all_code_points_in_few_queries(any_model):
    text = "".join(map(chr, range(0x110000)))
    step = MAX_QUERY_BYTES // 4
    for start in range(0, len(text), step):
        assert_scored(any_model, text[start : start + step])


def test_all_code_points_token_by_token(any_model):
    # A query of few code points each, so that none is behind the limit of tokens.
    queries = ["".join(map(chr, range(start, start + 64))) for start in range(0, 0x110000, 64)]
    offsets, _, tokens = features(queries)
    assert (np.diff(offsets) == np.maximum(2 * tokens - 1, 0)).all()
    column = pa.array([query.encode("utf-8", "replace") for query in queries])
    answers = any_model.score_arrow(column, min_score=0.2, threads=2)
    for i, answer in enumerate(any_model.score_batch(queries, min_score=0.2)):
        assert answers[i] == [(label.code, label.score) for label in answer]


@pytest.mark.parametrize("seed", range(5))
def test_random_bytes(any_model, seed):
    random = np.random.RandomState(seed)
    for size in (*range(40), 1000, 100_000):
        data = random.bytes(size)
        assert_scored(any_model, data)
        assert tokenize(data)[0] == reference.tokenize(data)[:MAX_TOKENS]


@pytest.mark.parametrize("seed", range(5))
def test_text_cut_anywhere(any_model, seed):
    # Every cut inside a character: the decoder must not read behind the end.
    random = np.random.RandomState(seed)
    text = "".join(random.choice(UNITS[:-1], 30)).encode()
    for end in range(len(text)):
        data = bytes(bytearray(text[:end]))
        assert_scored(any_model, data)
        assert tokenize(data)[0] == reference.tokenize(data)
