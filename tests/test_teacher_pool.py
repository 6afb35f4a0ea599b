"""The pool: each text once, the most valuable first, never one of the test queries."""

import io
import json
import tarfile

import pytest

from training import pool
from training.errors import CollectionError

QUERIES = {
    "mq:1": "used honda",
    "mq:2": "used honda parts",
    "tb:1": "honda",
    "tb:2": "used honda",
    "tb:3": "secret test",
    "tb:4": "2006 used honda",
}


@pytest.fixture
def brands(tmp_path):
    file = tmp_path / "brands.tgz"
    index = {
        "brands/shop/car": {
            "items": [
                {"displayName": "Zeta  Motors", "locationSet": {"include": ["us"]}},
                {"displayName": "Alfa", "locationSet": {"include": ["it"]}},
                {"displayName": "Honda", "locationSet": {"include": ["001"]}},
                {"displayName": "Кириллица", "locationSet": {"include": ["001"]}},
            ]
        },
        "flags/flag": {"items": [{"displayName": "France", "locationSet": {"include": ["us"]}}]},
    }
    raw = json.dumps({"nsi": index}).encode()
    with tarfile.open(file, "w:gz") as archive:
        info = tarfile.TarInfo("package/dist/json/nsi.min.json")
        info.size = len(raw)
        archive.addfile(info, io.BytesIO(raw))
    return file


@pytest.fixture
def make(monkeypatch, tmp_path, brands):
    monkeypatch.setattr(pool, "fetch", lambda package, cache, report: brands)
    monkeypatch.setattr(
        pool, "load_glove", lambda cache, report: (["the", ",", "secret", "zebra", "1999"], None)
    )

    def make(**limits):
        found = pool.pool_sources(
            *(tmp_path, QUERIES, ["used honda"], ["used honda"], ["secret test", "zebra"]),
            *(limits, lambda line: None),
        )
        return {source.name: source.texts for source in found}

    return make


def test_logged_queries_come_with_their_first_id(make):
    assert make(logged=10) == {
        "logged": {"mq:2": "used honda parts", "tb:1": "honda", "tb:4": "2006 used honda"}
    }


def test_words_and_bigrams_are_ranked_by_frequency_and_never_from_the_test(make):
    found = make(words=10, bigrams=10)
    assert found == {"words": {"word:1": "honda", "word:2": "used"}}


def test_an_earlier_source_keeps_a_text(make):
    found = make(logged=10, words=10)
    assert found["words"] == {"word:2": "used"}


def test_brands_of_english_speaking_countries_come_first(make):
    assert list(make(brands=10)["brands"].values()) == ["honda", "zeta motors", "alfa"]


def test_glove_words_leave_out_signs_numbers_and_test_queries(make):
    assert make(glove=10) == {"glove": {"glove:1": "the", "glove:3": "secret"}}


def test_a_limit_takes_the_first(make):
    assert make(brands=1, glove=1) == {
        "brands": {"nsi:1": "honda"},
        "glove": {"glove:1": "the"},
    }


def test_ids_do_not_depend_on_the_limit(make):
    many, few = make(brands=10)["brands"], make(brands=2)["brands"]
    assert few.items() <= many.items()


@pytest.mark.parametrize("way", ["spliced", "shortened"])
def test_a_way_that_makes_nothing_new_comes_to_an_end(make, way):
    assert make(**{way: 5}) == {}, "of one query of two words nothing else can be made"


def test_an_unknown_source_is_told(make):
    with pytest.raises(CollectionError, match="no source 'songs'"):
        make(songs=1)


def test_texts_of_ids_come_from_their_sources_alone(make, monkeypatch, tmp_path):
    def fetch(package, cache, report):
        raise AssertionError(f"{package.name} is not wanted")

    all_of = make(logged=10, words=10, glove=10)
    monkeypatch.setattr(pool, "fetch", fetch)
    wanted = {"glove": ["glove:3", "glove:99"], "words": ["word:2"], "logged": ["tb:4"]}
    found = pool.pool_texts(
        *(tmp_path, QUERIES, ["used honda"], ["used honda"], ["secret test", "zebra"]),
        *(wanted, lambda line: None),
    )
    assert found == {
        "glove": {"glove:3": "secret"},
        "words": {"word:2": "used"},
        "logged": {"tb:4": "2006 used honda"},
    }
    assert all(texts.items() <= all_of[name].items() for name, texts in found.items())
