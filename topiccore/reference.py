"""The scoring rules in slow plain Python: the readable specification and the oracle of the tests.

``topiccore._scoring`` computes the same in compiled code.  Whatever is changed in one is changed
in the other, and a change to the tokenizer, the hash or the index is a new ``SCHEME``.

Unicode: the scheme is pinned to Unicode 14.0.  This module asks the running Python's
``unicodedata``, which for every code point assigned in 14.0 gives the same answer from 3.11 on
(the compiled table knows the others as unassigned: separators).
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from topiccore.artifact import Artifact, Index
    from topiccore.taxonomy import Taxonomy


SCHEME = "fold14-fnv1a-fmix64-2"
MAX_TOKENS = 256
MAX_QUERY_BYTES = 1 << 20
NGRAM_BYTES = 512

_MASK = (1 << 64) - 1
_SOLO_RANGES = (
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3400, 0x4DBF),  # Han, extension A
    (0x4E00, 0x9FFF),  # Han
    (0x20000, 0x3FFFF),  # Han, later extensions
)
_VARIATION_SELECTORS = ((0xFE00, 0xFE0F), (0xE0100, 0xE01EF))


def _within(character: str, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= ord(character) <= last for first, last in ranges)


@lru_cache(maxsize=1 << 16)
def fold_character(character: str) -> str:
    """What one character becomes before hashing; a blank stands for a token boundary.

    Compatibility decomposition and case folding until nothing changes, then, per character:
    letters, numbers and spacing marks stay; combining marks (accents), format characters and
    variation selectors vanish; ideographs, kana and symbols such as emoji are tokens of their
    own; everything else separates.  Because marks vanish, no context is needed, and composed and
    decomposed spellings are the same.
    """
    if unicodedata.category(character) in ("Cn", "Co", "Cs") or character == "\ufffd":
        return " "
    folded = character
    while (step := unicodedata.normalize("NFKD", folded).casefold()) != folded:
        folded = step
    return "".join(map(_classify, folded))


def _classify(character: str) -> str:
    category = unicodedata.category(character)
    if (
        unicodedata.combining(character)
        or category == "Cf"
        or _within(character, _VARIATION_SELECTORS)
    ):
        return ""
    if category == "So" or _within(character, _SOLO_RANGES):
        return f" {character} "
    if category[0] in "LNM":
        return character
    return " "


def decode(query: str | bytes) -> str:
    """The query as text; bytes that are not UTF-8 become U+FFFD, which separates tokens."""
    return query if isinstance(query, str) else query.decode("utf-8", "replace")


def tokenize(query: str | bytes) -> list[str]:
    """All tokens of a query, folded, in order (no limit)."""
    return "".join(map(fold_character, decode(query))).split()


def mix(value: int) -> int:
    """The finalizer of MurmurHash3 (Appleby, public domain): 64 bits to 64 bits."""
    value ^= value >> 33
    value = value * 0xFF51AFD7ED558CCD & _MASK
    value ^= value >> 33
    value = value * 0xC4CEB9FE1A85EC53 & _MASK
    return value ^ value >> 33


def hash_bytes(data: bytes) -> int:
    """FNV-1a over the bytes (Fowler, Noll, Vo), finished by ``mix``: 64 bits."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & _MASK
    return mix(value)


def hash_bigram(first: int, second: int) -> int:
    """The hash of two neighbouring tokens from theirs; order counts."""
    return mix((first * 0x9E3779B97F4A7C15 + second) & _MASK)


def features(query: str | bytes) -> list[tuple[str, int]]:
    """Each feature of a query as (text, bucket): its tokens in order, then neighbours in pairs.

    A bucket is the upper half of a feature's hash: 32 bits.  Only the first ``MAX_TOKENS`` tokens
    count.
    """
    tokens = tokenize(query)[:MAX_TOKENS]
    hashes = [hash_bytes(token.encode()) for token in tokens]
    found = [(token, value >> 32) for token, value in zip(tokens, hashes, strict=True)]
    for i in range(len(tokens) - 1):
        found.append((f"{tokens[i]} {tokens[i + 1]}", hash_bigram(hashes[i], hashes[i + 1]) >> 32))
    return found


GROUPS = 1 << 16
PLAIN, SCALED = 1, 2
"""Flags of an entry of encoding float32: which rows a feature has."""


def find_feature(index: Index, bucket: int) -> int | None:
    """The place of a bucket in ``index.keys``, ``None`` where the artifact does not have it.

    The upper 16 bits of a bucket choose its group, the lower 16 are its key there.
    """
    group, key = bucket >> 16, bucket & 0xFFFF
    for place in range(index.groups[group], index.groups[group + 1]):
        if index.keys[place] == key:
            return place
    return None


Row = NDArray[np.float32]


def find_rows(artifact: Artifact, bucket: int) -> tuple[Row | None, Row | None]:
    """The (plain, scaled) rows of a bucket, float32 [labels] each; ``None`` for what it has not.

    A plain row is added as it is, a scaled one times ``scale``.
    """
    place = find_feature(artifact.index, bucket)
    if place is None:
        return None, None
    if artifact.encoding == "sparse8":
        return decode_sparse8(artifact, place)
    entry = int(artifact.index.entries[place])
    row = entry >> 2
    plain = artifact.rows[row] if entry & PLAIN else None
    scaled = artifact.rows[row + (entry & PLAIN)] if entry & SCALED else None
    return plain, scaled


def decode_sparse8(artifact: Artifact, place: int) -> tuple[Row | None, Row | None]:
    """The (plain, scaled) rows of a feature of encoding sparse8.

    Only what ``topiccore.compaction`` writes is defined: at most one record of a kind, whose cells
    go up through the labels.  From anything else comes some row, and no error.
    """
    labels = len(artifact.bias)
    found: list[Row | None] = [None, None]
    at, end = (int(x) for x in artifact.index.entries[place : place + 2])
    while end - at >= 2:
        head, step = int(artifact.rows[at]), bfloat16(int(artifact.rows[at + 1]))
        scaled, dense, count = head & 1, head & 2, head >> 2
        cells = artifact.rows[at + 2 : at + 2 + count]
        at += 2 + count
        if at > end:
            break
        row = np.zeros(labels, dtype=np.float32)
        if not dense:
            label = 0
            for cell in cells.tolist():
                label += cell & 255
                if label < labels:
                    row[label] += step * np.int8((cell >> 8) - (cell >> 15 << 8))
        elif count == (labels + 1) // 2:
            row = step * cells.view(np.int8)[:labels].astype(np.float32)
        earlier = found[scaled]
        found[scaled] = row if earlier is None else earlier + row
    return found[0], found[1]


def bfloat16(bits: int) -> np.float32:
    """The number whose upper half of a float32 these bits are."""
    return np.uint32(bits << 16).view(np.float32)


def scale(tokens: int) -> np.float32:
    """What scaled rows are multiplied by in a query with that many tokens: 1/sqrt(tokens)."""
    return np.float32(1.0 / math.sqrt(max(tokens, 1)))


def word_ngrams(word: str, shortest: int, longest: int) -> Iterator[str]:
    """The character n-grams of ``<word>``, the shortest first (Bojanowski et al. 2017)."""
    marked = f"<{word}>"
    for length in range(shortest, longest + 1):
        for start in range(len(marked) - length + 1):
            yield marked[start : start + length]


def ngram_bucket(ngram: str) -> int:
    """The bucket of a character n-gram; a byte that no word has keeps it apart from words."""
    return hash_bytes(b"\xff" + ngram.encode()) >> 32


def words_with_ngrams(tokens: Sequence[str], is_known: Callable[[int], bool]) -> list[str]:
    """The tokens whose n-grams count: those whose bucket is not known, near the query's beginning.

    Only words that end within the first ``NGRAM_BYTES`` folded bytes of the query have n-grams.
    """
    ends = accumulate(len(word.encode()) for word in tokens[:MAX_TOKENS])
    early = [word for word, end in zip(tokens, ends, strict=False) if end <= NGRAM_BYTES]
    return [word for word in early if not is_known(hash_bytes(word.encode()) >> 32)]


def ngram_features(artifact: Artifact, query: str | bytes) -> list[tuple[str, str, int]]:
    """What stands in for words without a row: (word, n-gram, bucket) of each of their n-grams."""
    if artifact.ngrams == (0, 0):
        return []
    words = words_with_ngrams(
        tokenize(query), lambda bucket: find_feature(artifact.index, bucket) is not None
    )
    return [
        (word, x, ngram_bucket(x)) for word in words for x in word_ngrams(word, *artifact.ngrams)
    ]


def logits(artifact: Artifact, query: str | bytes) -> NDArray[np.float32]:
    """float32 [labels]: bias + sum of plain rows + scale * sum of scaled rows.

    Both sums are made in float64, in the order of the query's features, n-grams last.
    """
    sums = np.zeros((2, len(artifact.bias)))
    buckets = [bucket for _, bucket in features(query)]
    buckets += [bucket for _, _, bucket in ngram_features(artifact, query)]
    for bucket in buckets:
        for kind, row in enumerate(find_rows(artifact, bucket)):
            if row is not None:
                sums[kind] += row
    tokens = min(len(tokenize(query)), MAX_TOKENS)
    total = (artifact.bias + sums[0]) + float(scale(tokens)) * sums[1]
    return np.asarray(total, dtype=np.float32)


def unknown_tokens(artifact: Artifact, query: str | bytes) -> int:
    """How many of the scored tokens of a query the artifact has no row for."""
    tokens = min(len(tokenize(query)), MAX_TOKENS)
    buckets = [bucket for _, bucket in features(query)][:tokens]
    return sum(find_feature(artifact.index, bucket) is None for bucket in buckets)


CONTEXT = ("family", "sibling", "rival")
"""The rows of ``context`` and of an artifact's ``context`` weights."""


def context(values: NDArray[np.float32], taxonomy: Taxonomy) -> NDArray[np.float32]:
    """float32 [3, labels]: what the other labels of a query say of each label.

    From logits float32 [labels].  ``family``: of a topic its best subtopic's logit, of a subtopic
    its topic's; ``sibling``: of a subtopic the best logit of its topic's other subtopics;
    ``rival``: the best logit in any other topic, its own or a subtopic's.  0 where there is none.
    """
    found = np.zeros((3, len(taxonomy)), dtype=np.float32)
    parents = taxonomy.parents.tolist()
    children: dict[int, list[int]] = {
        label: [] for label, parent in enumerate(parents) if parent < 0
    }
    for label, parent in enumerate(parents):
        if parent >= 0:
            children[parent].append(label)
    best = {topic: max(values[[topic, *own]].tolist()) for topic, own in children.items()}
    for topic, own in children.items():
        if own:
            found[0, topic] = values[own].max()
            found[0, own] = values[topic]
        for label in own:
            others = [float(values[other]) for other in own if other != label]
            found[1, label] = max(others, default=0.0)
        rivals = [value for other, value in best.items() if other != topic]
        found[2, [topic, *own]] = max(rivals, default=0.0)
    return found


def in_context_of(
    values: NDArray[np.float32], others: NDArray[np.float32], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """float32 [labels]: logits plus weights times ``context``, added in the order of its rows."""
    sums = values.copy()
    if weights.any():
        for row, weight in zip(others, weights, strict=True):
            sums += weight * row
    return sums


def beside_best(values: NDArray[np.float32], taxonomy: Taxonomy) -> NDArray[np.bool_]:
    """bool [labels]: whether another topic than the label's has the best logit, float32 [labels].

    A topic's best logit is its own or a subtopic's; topics that tie are best together.
    """
    topic_of = np.where(taxonomy.parents < 0, np.arange(len(taxonomy)), taxonomy.parents)
    bests = np.full(len(taxonomy), -np.inf, np.float32)
    np.maximum.at(bests, topic_of, values)
    return np.asarray(bests[topic_of] < bests.max())


def sigmoid(value: float) -> float:
    """1 / (1 + exp(-value)), which is 0 where ``exp`` has no finite value."""
    try:
        return 1.0 / (1.0 + math.exp(-value))
    except OverflowError:
        return 0.0


def score_at(artifact: Artifact, label: int, logit: float) -> float:
    """The calibrated score of a label, by its position, at a logit in context."""
    log_odds = float(artifact.slopes[label]) * logit + float(artifact.intercepts[label])
    knee, steepness = map(float, artifact.bends[:, label])
    if log_odds < knee:
        # In this form an overflow stays -inf.
        log_odds = (1 + steepness) * log_odds - steepness * knee
    return sigmoid(log_odds)


def score(
    artifact: Artifact, query: str | bytes, min_score: float | None = None
) -> list[tuple[str, float]]:
    """The emitted labels as (code, score), best first.

    A label is emitted when its logit in context reaches its threshold, ``beside`` where another
    topic than its own is the query's best (with ``min_score``: when its score reaches that); a
    subtopic brings its topic, whose score is at least the subtopic's.
    """
    alone = logits(artifact, query)
    values = in_context_of(alone, context(alone, artifact.taxonomy), artifact.context)
    others = beside_best(alone, artifact.taxonomy)
    thresholds = np.where(others, artifact.array("beside"), artifact.thresholds)
    scores = [score_at(artifact, label, float(logit)) for label, logit in enumerate(values)]
    emitted: dict[int, float] = {}
    for label, parent in enumerate(artifact.taxonomy.parents.tolist()):
        reached = (
            values[label] >= thresholds[label] if min_score is None else scores[label] >= min_score
        )
        if reached:
            emitted[label] = max(scores[label], emitted.get(label, 0.0))
            if parent >= 0:
                brought = emitted.get(parent, scores[parent])
                emitted[parent] = max(brought, scores[label])
    ranked = sorted(emitted.items(), key=lambda item: (-item[1], item[0]))
    return [(artifact.taxonomy[label].code, value) for label, value in ranked]
