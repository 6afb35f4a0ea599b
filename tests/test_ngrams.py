"""Words without a row are summed up from their character n-grams: kernel and reference agree."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topiccore import TopicModel, compact, reference
from topiccore.artifact import Artifact, build_index

LENGTHS = (3, 4)
KNOWN = ["used", "honda", "東京"]
LEARNED = ["hondas", "tokyo", "東京都", "aaaa", "é"]
WORDS = [*KNOWN, *LEARNED, "hondaa", "東京都市", "x", "zzz", "ÉCLAIR", "🚗", "don't", "aaaaaaaa"]


def with_ngrams(artifact: Artifact, lengths: tuple[int, int] = LENGTHS, seed: int = 2) -> Artifact:
    """Rows of known words and of the n-grams of ``LEARNED``, in 256ths."""
    words = np.array([reference.hash_bytes(word.encode()) >> 32 for word in KNOWN], np.uint32)
    texts = sorted({ngram for word in LEARNED for ngram in reference.word_ngrams(word, *lengths)})
    ngrams = np.array([reference.ngram_bucket(text) for text in texts], np.uint32)
    index, plain, scaled = build_index(words[:1], np.concatenate([words, ngrams]))
    random = np.random.RandomState(seed)
    rows = random.randint(-800, 800, (len(plain) + len(scaled), len(artifact.taxonomy))) / 256
    return replace(artifact, index=index, rows=rows.astype(np.float32), ngrams=lengths)


def both(artifact: Artifact) -> list[TopicModel]:
    return [TopicModel(artifact), TopicModel(compact(artifact, prune=0.5))]


@pytest.fixture(scope="module")
def models(artifact):
    return both(with_ngrams(artifact))


def assert_like_reference(model: TopicModel, query: str | bytes) -> None:
    expected = reference.logits(model.artifact, query)
    assert model.logits([query])[0] == pytest.approx(expected, rel=0, abs=1e-5)
    assert model.score(query).unknown == reference.unknown_tokens(model.artifact, query)


@given(words=st.lists(st.sampled_from(WORDS) | st.text(max_size=12), max_size=12))
def test_kernel_and_reference(models, words):
    for model in models:
        assert_like_reference(model, " ".join(words))


@pytest.mark.parametrize("lengths", [(1, 1), (1, 4), (2, 5), (4, 4), (13, 16)])
def test_other_lengths(artifact, lengths):
    for model in both(with_ngrams(artifact, lengths)):
        for query in ("hondas tokyo", "a", "東京都 used", "a" * 40):
            assert_like_reference(model, query)


@pytest.mark.parametrize(
    "query",
    [
        "x" * 511,
        "x" * 512,
        "x" * 513,
        "tokyo " * 102,
        "tokyo " * 103,
        "a " * 300,
        "hondas " + "y" * 505,
        "hondas " + "y" * 506 + " tokyo",
        "東" * 170 + " tokyo",
        "東" * 171 + " tokyo",
        b"hondas\xff tokyo",
    ],
    ids=lambda query: f"{len(query)} of {query[:8]!r}",
)
def test_ngrams_end_where_they_are_said_to(models, query):
    for model in models:
        assert_like_reference(model, query)


def test_a_word_without_a_row_has_the_rows_of_its_ngrams(artifact):
    source = with_ngrams(artifact)
    model = TopicModel(source)
    expected = source.bias.astype(float)
    for ngram in ["<to", "tok", "oky", "kyo", "yo>", "<tok", "toky", "okyo", "kyo>"]:
        expected += reference.find_rows(source, reference.ngram_bucket(ngram))[1]
    assert model.logits(["tokyo"])[0] == pytest.approx(expected, abs=1e-5)
    # A word with a row has none of its n-grams, and n-grams are no words.
    alone = replace(source, ngrams=(0, 0))
    assert np.array_equal(model.logits(["honda"]), TopicModel(alone).logits(["honda"]))
    assert TopicModel(alone).logits(["tokyo"])[0] == pytest.approx(source.bias)
    assert reference.find_feature(source.index, reference.hash_bytes(b"tok") >> 32) is None


def test_explained_ngrams_add_up(models):
    for model in models:
        for item in model.explain("tokyo honda", [label.code for label in model.taxonomy]):
            shares = {share.text: share.share for share in item.shares}
            assert "tokyo (<to)" in shares
            assert not any(text.startswith("honda (") for text in shares)
            assert item.bias + sum(shares.values()) == pytest.approx(item.logit, abs=1e-5)
            assert item.unknown == ("tokyo",)


def test_a_word_whose_row_is_pruned_away_stays_known(artifact):
    source = with_ngrams(artifact)
    rows = source.rows.copy()
    rows[:] = 0.01
    pruned = TopicModel(compact(replace(source, rows=rows), prune=0.5))
    assert pruned.score("used honda tokyo").unknown == 1
