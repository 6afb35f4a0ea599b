from itertools import islice

import numpy as np
import pytest

from training.made_queries import LONGEST, TOO_FREQUENT, QueryMaker

TEXTS = ["cheap flights to paris", "hotels in paris france", "jobs in new york", "honda"]
COMMON = [f"w{row}" for row in range(TOO_FREQUENT + 1)]
WORDS = [*COMMON, "paris", "london", "berlin", "jobs", "careers", "x1"]


def glove():
    vectors = np.random.default_rng(5).normal(size=(len(WORDS), 8)).astype(np.float32)
    for near, to in (("london", "paris"), ("berlin", "paris"), ("careers", "jobs")):
        vectors[WORDS.index(near)] = vectors[WORDS.index(to)] * 2
    return WORDS, vectors


def made(kind, count=200):
    return list(islice(getattr(QueryMaker(TEXTS, glove), kind)(), count))


@pytest.mark.parametrize("kind", ["spliced", "swapped", "shortened"])
def test_queries_are_numbered_and_the_same_each_time(kind):
    found = made(kind)
    assert [identity for identity, _ in found] == [f"{kind}:{rank}" for rank in range(1, 201)]
    assert found == made(kind)
    assert len({text for _, text in found}) > 3
    assert all(2 <= len(text.split()) <= LONGEST for _, text in found)


def test_a_splice_begins_as_one_query_and_ends_as_another():
    found = {text for _, text in made("spliced")}
    assert {"hotels in new york", "jobs in paris france"} <= found
    for text in found:
        words = text.split()
        assert any(
            " ".join(words[:cut]) in {" ".join(t.split()[:cut]) for t in TEXTS}
            and any(t.endswith(" ".join(words[cut - 1 :])) for t in TEXTS)
            for cut in range(1, len(words) + 1)
        )


def test_a_swap_takes_a_near_word_and_never_a_frequent_one():
    found = {text for _, text in made("swapped")}
    assert {"cheap flights to london", "hotels in berlin france", "careers in new york"} <= found
    assert all("x1" not in text for text in found), "letters alone"


def test_a_shortened_query_lacks_one_word():
    found = {text for _, text in made("shortened")}
    assert "cheap flights paris" in found
    assert "jobs new york" in found
    for text in found:
        assert any(
            text.split() == [*t.split()[:i], *t.split()[i + 1 :]]
            for t in TEXTS
            for i in range(len(t.split()))
        )


@pytest.mark.parametrize("texts", [[], ["honda"], ["one two"]])
@pytest.mark.parametrize("kind", ["swapped", "shortened"])
def test_it_ends_where_nothing_can_be_made(texts, kind):
    assert list(getattr(QueryMaker(texts, glove), kind)()) == []
