"""The tokenizer and the hash: the kernel against the reference, and both against golden files.

A golden file that no longer fits means another tokenizer or hash: a new ``reference.SCHEME``.
Only then write it anew, with Python 3.11:  PYTHONPATH=. python tests/test_tokenizer.py
"""

import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from unicode14 import NEWER, PINNED, UNASSIGNED, unassigned

from topiccore import MAX_QUERY_BYTES, MAX_TOKENS, QueryTooLongError, QueryTypeError, reference
from topiccore._scoring import features, hash_tokens, tokenize

GOLDEN = Path(__file__).parent / "golden"
TOKENS = GOLDEN / "tokens.jsonl"

QUERIES = [
    "",
    "   ",
    "used honda civic dallas",
    "Used  HONDA\tcivic\ndallas",
    "at&t phone-plans, 50% off!",
    "c++ vs. c#",
    "o'reilly's rock'n'roll",
    "iphone 15 pro max 256gb",
    "3.5mm jack",
    "café crème brûlée",
    "cafe\u0301 cre\u0300me bru\u0302le\u0301e",
    "straße STRASSE",
    "İstanbul ISPARTA ısparta",
    "ΟΔΥΣΣΕΥΣ οδυσσεύς",
    "ᾳ ᾼ",
    "Москва ёлка",
    "שָׁלוֹם עולם",
    "السَّلام ﷺ",
    "हिन्दी कि खोज",
    "ไทย ภาษา",
    "東京ホテル",
    "東京 ラーメン ﾗｰﾒﾝ",
    "서울 호텔",
    "🚗🏖️ beach",
    "👩‍👩‍👧 family 👍🏽",
    "ﬁne ﬂight ½ ① x²",
    "ＦＵＬＬ　ｗｉｄｔｈ",
    "zero\u200bwidth so\u00adft",
    "nul\x00in\x00side",
    "lone \ud83d surrogate",
    "private \ue000 use \ufffd",
    "b b b a b",
]


ODD = [
    *("\x00", " ", "\u00a0", "\u3000", "\u200b", "\u200d", "\ufe0f", "\ufffd", "\ud83d", "\udc00"),
    *("\u0301", "\u0327", "\u0345", "\u3099", "\u309b", "\u093f", "\u0e33", "\u1161", "\u11a8"),
    *("ß", "İ", "ı", "ς", "ŉ", "ﬁ", "ﷺ", "ǆ", "ᾳ", "㎏", "½", "Å", "가", "ﾊﾞ", "ー", "東", "々"),
    *("א", "ש", "\u05b8", "ع", "\u202e", "🚗", "👍🏽", "🇩🇪", "1️⃣", "used ", "Honda"),
]
CHARACTERS = st.characters().filter(lambda c: c not in NEWER)
TEXT = st.lists(CHARACTERS | st.sampled_from(ODD), max_size=40).map("".join)
PIECES = [
    *(b"a", b" ", b"\x00", b"\x7f", "é".encode(), "東".encode(), "🚗".encode(), "ß".encode()),
    *(b"\x80", b"\xbf", b"\xc0\x80", b"\xc1\xbf", b"\xc2", b"\xe0\x80\x80", b"\xe0\x9f\xbf"),
    *(b"\xe6\x9d", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf0\x80\x80\x80", b"\xf0\x8f\xbf\xbf"),
    *(b"\xf0\x9f\x9a", b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xff"),
]
BYTES = st.lists(st.binary(max_size=4) | st.sampled_from(PIECES), max_size=20).map(b"".join)


def normal_form(query: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", query).split()).lower()


def render() -> str:
    """The golden file of tokens: one query a line, with its tokens and buckets by the kernel."""
    lines = []
    for query in QUERIES:
        row = {
            "query": query,
            "tokens": tokenize(query)[0],
            "buckets": features([query])[1].tolist(),
        }
        lines.append(json.dumps(row) + "\n")
    return "".join(lines)


# --- the kernel against the reference -----------------------------------------------------------


def test_every_code_point_as_in_the_reference():
    wrong = []
    for code in range(0x110000):
        if chr(code) not in NEWER:
            query = f"a{chr(code)}b"
            if tokenize(query)[0] != reference.tokenize(query):
                wrong.append(f"U+{code:04X}")
    assert wrong == []


def test_unassigned_code_points_separate():
    wrong = [f"U+{ord(c):04X}" for c in unassigned() if tokenize(f"a{c}b")[0] != ["a", "b"]]
    assert wrong == []


@pytest.mark.skipif(not PINNED, reason="this Python has another Unicode than 14.0")
def test_list_of_unassigned_code_points_is_that_of_unicode_14():
    assert unassigned() == {c for c in map(chr, range(0x110000)) if unicodedata.category(c) == "Cn"}


@given(TEXT)
@example("\ud83d\ude97")
@example("a\u0345\u0301b")
def test_text_as_in_the_reference(query):
    tokens, truncated = tokenize(query)
    assert tokens == reference.tokenize(query)
    assert truncated is False


@given(BYTES)
def test_bytes_as_in_the_reference(query):
    assert tokenize(query)[0] == reference.tokenize(query)


def test_every_pair_of_bytes_as_in_the_reference():
    wrong = []
    for first in range(256):
        for second in range(256):
            query = bytes([97, first, second, 98])
            if tokenize(query)[0] != reference.tokenize(query):
                wrong.append(query)
    assert wrong == []


@pytest.mark.parametrize(
    "invalid",
    [
        pytest.param(b"\x80", id="continuation alone"),
        pytest.param(b"\xc0\xaf", id="overlong of two"),
        pytest.param(b"\xe0\x80\xaf", id="overlong of three"),
        pytest.param(b"\xf0\x80\x80\xaf", id="overlong of four"),
        pytest.param(b"\xe6\x9d", id="cut after two of three"),
        pytest.param(b"\xf0\x9f\x9a", id="cut after three of four"),
        pytest.param(b"\xed\xa0\x80", id="high surrogate"),
        pytest.param(b"\xed\xa0\xbd\xed\xba\x97", id="pair of surrogates"),
        pytest.param(b"\xf4\x90\x80\x80", id="above U+10FFFF"),
        pytest.param(b"\xfe\xff", id="no UTF-8 byte"),
    ],
)
def test_invalid_utf8_separates(invalid):
    assert tokenize(b"used" + invalid + b"honda") == (["used", "honda"], False)
    assert tokenize(b"used" + invalid) == (["used"], False)
    assert tokenize(invalid) == ([], False)


@given(st.lists(TEXT | BYTES, max_size=5))
def test_features_as_in_the_reference(queries):
    offsets, buckets, tokens = features(queries)
    assert (offsets.dtype, buckets.dtype, tokens.dtype) == (np.int64, np.uint32, np.int32)
    assert offsets[0] == 0
    assert len(offsets) == len(queries) + 1
    assert offsets[-1] == len(buckets)
    for i, query in enumerate(queries):
        expected = [bucket for _, bucket in reference.features(query)]
        assert buckets[offsets[i] : offsets[i + 1]].tolist() == expected
        assert tokens[i] == len(reference.tokenize(query))


def test_features_of_more_and_longer_queries_than_room_was_made_for():
    queries = [f"{i} " * 300 for i in range(50)]
    offsets, buckets, tokens = features(iter(queries))
    assert tokens.tolist() == [MAX_TOKENS] * 50
    assert np.diff(offsets).tolist() == [2 * MAX_TOKENS - 1] * 50
    for i, query in enumerate(queries):
        found = buckets[offsets[i] : offsets[i + 1]].tolist()
        assert found == [bucket for _, bucket in reference.features(query)]


# --- what the rules promise ---------------------------------------------------------------------


@given(TEXT)
def test_normal_form_has_the_same_tokens(query):
    assert tokenize(normal_form(query)) == tokenize(query)


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_spellings_of_every_code_point_have_the_same_tokens(form):
    wrong = []
    for code in range(0x110000):
        query = f"a{chr(code)}b"
        spelling = unicodedata.normalize(form, query)
        if spelling != query and chr(code) not in NEWER and tokenize(spelling) != tokenize(query):
            wrong.append(f"U+{code:04X}")
    assert wrong == []


@given(TEXT, st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
def test_composed_and_decomposed_text_has_the_same_tokens(query, form):
    assert tokenize(unicodedata.normalize(form, query)) == tokenize(query)


@given(TEXT)
def test_case_does_not_count(query):
    assert tokenize(query.lower()) == tokenize(query)
    assert tokenize(query.casefold()) == tokenize(query)
    if "ı" not in query:  # its capital is "I", as that of "i" is
        assert tokenize(query.upper()) == tokenize(query)


@given(TEXT)
def test_tokens_are_tokens_of_themselves(query):
    for token in tokenize(query)[0]:
        assert tokenize(token) == ([token], False)


@given(TEXT)
def test_text_and_its_utf8_have_the_same_tokens(query):
    assert tokenize(query.encode("utf-8", "replace")) == tokenize(query)


@pytest.mark.parametrize(
    ("query", "tokens"),
    [
        ("Used HONDA", ["used", "honda"]),
        ("café", ["cafe"]),
        ("東京hotel", ["東", "京", "hotel"]),
        ("🚗🚗", ["🚗", "🚗"]),
        ("👍🏽", ["👍"]),
        ("at&t", ["at", "t"]),
        ("so\u00adft", ["soft"]),
        ("x²", ["x2"]),
    ],
)
def test_tokens_by_hand(query, tokens):
    # The skin tone of the thumb is a modifier symbol (Sk): it separates.
    assert tokenize(query)[0] == tokens
    assert reference.tokenize(query) == tokens


# --- the hash -----------------------------------------------------------------------------------


def test_golden_tokens_and_buckets():
    assert render() == TOKENS.read_text("ascii")


def test_golden_tokens_and_buckets_by_the_reference():
    for line in TOKENS.read_text("ascii").splitlines():
        row = json.loads(line)
        assert reference.tokenize(row["query"]) == row["tokens"]
        assert [bucket for _, bucket in reference.features(row["query"])] == row["buckets"]


def test_hash_has_published_values():
    # fmix64(1) of MurmurHash3; FNV-1a 64 of "" and "foobar" from the FNV authors' test vectors.
    assert reference.mix(1) == 0xB456BCFC34C2CB2C
    assert reference.hash_bytes(b"") == reference.mix(0xCBF29CE484222325)
    assert reference.hash_bytes(b"foobar") == reference.mix(0x85944171F73967E8)
    assert hash_tokens(["foobar"])[0] == reference.mix(0x85944171F73967E8) >> 32


def test_order_of_a_pair_counts():
    assert features(["used honda"])[1][2] != features(["honda used"])[1][2]


def test_hash_tokens_is_the_first_bucket_of_each_word():
    words = ["used", "東", "cafe"]
    assert hash_tokens(words).tolist() == [reference.features(word)[0][1] for word in words]
    assert hash_tokens([]).shape == (0,)


@pytest.mark.parametrize("word", ["", " ", "used honda", "a-b", "東京"])
def test_hash_tokens_refuses_what_is_not_one_token(word):
    with pytest.raises(ValueError, match="not one token"):
        hash_tokens(["used", word])


def test_hash_tokens_refuses_an_iterator_too():
    with pytest.raises(ValueError, match="not one token"):
        hash_tokens(iter(["used", "a-b"]))


@pytest.mark.parametrize("word", ["Honda", "café", " used "])
def test_hash_tokens_refuses_a_word_that_the_tokenizer_changes(word):
    with pytest.raises(ValueError, match="not one token"):
        hash_tokens([word])


# --- limits -------------------------------------------------------------------------------------


def test_limits_are_those_of_the_reference():
    assert (MAX_TOKENS, MAX_QUERY_BYTES) == (reference.MAX_TOKENS, reference.MAX_QUERY_BYTES)
    assert MAX_TOKENS == 256


FULL = " ".join(f"w{i}" for i in range(256))


@pytest.mark.parametrize(
    "rest", ["", " ", " !?.\n\t\x00", "\u0301", " \u0301\u0302 ", "\u200b", "x"]
)
def test_not_truncated_without_another_token(rest):
    tokens, truncated = tokenize(FULL + rest)
    assert (len(tokens), truncated) == (256, False)
    assert tokens == reference.tokenize(FULL + rest)


@pytest.mark.parametrize(
    "rest", [" x", "東", "🚗", " " * 1000 + "x", "-x", " ½", "\ud800x", " x y z"]
)
def test_truncated_with_another_token(rest):
    tokens, truncated = tokenize(FULL + rest)
    assert truncated is True
    assert tokens == reference.tokenize(FULL + rest)[:256]


@pytest.mark.parametrize("query", ["東" * 300, "ﷺ" * 300, "½" * 300, "서울 " * 300, "ab,cd " * 300])
def test_cut_as_in_the_reference(query):
    tokens, truncated = tokenize(query)
    expected = reference.tokenize(query)
    assert tokens == expected[:256]
    assert truncated is (len(expected) > 256)


def test_one_long_token():
    tokens, truncated = tokenize("x" * MAX_QUERY_BYTES)
    assert tokens == ["x" * MAX_QUERY_BYTES]
    assert not truncated


def test_text_that_grows_most_when_folded():
    def growth(character: str) -> float:
        folded = reference.fold_character(character)
        return len(folded.encode()) / len(character.encode("utf-8", "replace"))

    widest = max(map(chr, range(0x110000)), key=growth)
    assert growth(widest) >= 10
    assert tokenize(widest * 80) == (reference.tokenize(widest * 80), False)


@pytest.mark.parametrize("unit", ["x", "é", "東", "🚗", b"x", b"\xff"])
def test_longest_query(unit):
    size = len(unit.encode() if isinstance(unit, str) else unit)
    longest = unit * (MAX_QUERY_BYTES // size)
    tokenize(longest)
    features([longest])
    too_long = longest + unit
    found = len(too_long.encode() if isinstance(too_long, str) else too_long)
    with pytest.raises(QueryTooLongError, match=rf"{found} bytes.*at most {MAX_QUERY_BYTES}"):
        tokenize(too_long)
    with pytest.raises(QueryTooLongError, match=r"^query 1: .*bytes"):
        features(["fine", too_long])


@pytest.mark.parametrize("query", [None, 5, 1.5, ["used"], bytearray(b"used"), memoryview(b"used")])
def test_only_text_and_bytes(query):
    with pytest.raises(QueryTypeError, match=type(query).__name__):
        tokenize(query)
    with pytest.raises(QueryTypeError, match=f"^query 2: .*{type(query).__name__}"):
        features(["a", b"b", query])


def test_subclasses_of_text_and_bytes():
    class Text(str):
        __slots__ = ()

    class Raw(bytes):
        __slots__ = ()

    assert (
        tokenize(Text("Used Honda")) == tokenize(Raw(b"Used Honda")) == (["used", "honda"], False)
    )


def write_golden() -> None:
    if not PINNED:
        raise SystemExit("golden files are written with Unicode 14.0: Python 3.11")
    lines, first = [], None
    for code in range(0x110001):
        is_unassigned = code < 0x110000 and unicodedata.category(chr(code)) == "Cn"
        if is_unassigned and first is None:
            first = code
        if not is_unassigned and first is not None:
            lines.append(f"{first:04X}..{code - 1:04X}\n")
            first = None
    GOLDEN.mkdir(exist_ok=True)
    UNASSIGNED.write_text("".join(lines), "ascii")
    TOKENS.write_text(render(), "ascii")


if __name__ == "__main__":
    write_golden()
