"""Label and taxonomy files: what they mean; each fault told with file and line; no leakage."""

import re

import numpy as np
import pytest
from training_support import DATA, open_run, queries, write_config

from training.collections import file_sha256, text_sum
from training.dataset import load_dataset
from training.errors import DataError
from training.labels import LabelledQueries, gold_sets, read_labels, refuse_leakage
from training.taxonomy import read_taxonomy

TEXTS = {"mq:1": "used honda", "mq:2": "red dress", "tb:1": "zzyzx", "tb:2": "caf\u00e9 dallas"}
HEADER = "id\tsha256_8\tcount\tlabels"


def row(identity: str, labels: str, count: object = 1, checksum: str | None = None) -> str:
    return f"{identity}\t{checksum or text_sum(TEXTS[identity])}\t{count}\t{labels}"


GOOD = [row("mq:1", "V1", 3), row("mq:2", "S1 S V2"), row("tb:1", "-"), row("tb:2", "T")]


@pytest.fixture
def read(tmp_path, taxonomy):
    """``read(lines)`` writes them below the header and reads the file."""

    def write_and_read(lines, header=HEADER):
        path = tmp_path / "labels.tsv"
        path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
        return read_labels(path, TEXTS, taxonomy)

    return write_and_read


def refused(read, lines, place, header=HEADER):
    """The message with which the lines are refused; it names the file and ``place``."""
    with pytest.raises(DataError) as caught:
        read(lines, header)
    message = str(caught.value)
    assert re.search(rf"labels\.tsv{place}: ", message), message
    return message


# --- labels ------------------------------------------------------------------------------------


def test_labels(read, taxonomy):
    found = read(GOOD)
    assert len(found) == 4
    assert found.ids == ["mq:1", "mq:2", "tb:1", "tb:2"]
    assert found.texts == list(TEXTS.values())
    assert found.counts.tolist() == [3, 1, 1, 1]
    assert found.counts.dtype == np.int64
    codes = [[taxonomy[place].code for place in np.flatnonzero(gold)] for gold in found.gold]
    assert codes == [["V", "V1"], ["V", "V2", "S", "S1"], [], ["T"]]


def test_gold_sets_bring_topics(taxonomy):
    gold = gold_sets([["T2"], [], ["V", "S"]], taxonomy)
    assert gold.dtype == bool
    assert gold.shape == (3, len(taxonomy))
    assert [taxonomy[place].code for place in np.flatnonzero(gold[0])] == ["T", "T2"]
    assert gold.sum(axis=1).tolist() == [2, 0, 2]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (row("mq:2", "V9"), "label 'V9' is not in the taxonomy"),
        (row("mq:2", "v1"), "label 'v1' is not in the taxonomy"),
        (row("mq:2", "V1 -"), "label '-' is not in the taxonomy"),
        (row("mq:2", ""), "no label"),
        (row("mq:2", " "), "no label"),
        (row("mq:2", "V1", 0), "count '0' is not a number from 1"),
        (row("mq:2", "V1", -1), "count '-1' is not a number from 1"),
        (row("mq:2", "V1", "1.5"), "count '1.5' is not a number from 1"),
        (row("mq:2", "V1", "\u0663"), "is not a number from 1"),
        (row("mq:2", "V1", 10**20), "is not a number from 1"),
        (row("mq:2", "V1", checksum="00000000"), "id mq:2 has checksum 00000000, the collection's"),
        (row("mq:2", "V1", checksum=text_sum("red dress").upper()), "id mq:2 has checksum"),
        ("mq:9\t00000000\t1\tV1", "id mq:9 is in no collection"),
        ("\t00000000\t1\tV1", "id  is in no collection"),
        (row("mq:1", "V1"), "id mq:1 stands in line 2 too"),
        ("mq:2\tx\t1", "3 columns, expected 4"),
        (row("mq:2", "V1\textra"), "5 columns, expected 4"),
        ("", "0 columns, expected 4"),
    ],
)
def test_bad_line_is_told(read, bad, said):
    assert said in refused(read, [GOOD[0], bad, GOOD[3]], ":3")


@pytest.mark.parametrize("header", ["", "id\tlabels", HEADER + "\tmore", HEADER.replace("\t", ",")])
def test_wrong_header_is_told(read, header):
    assert "the header is not the columns id, sha256_8" in refused(read, GOOD, ":1", header)


def test_line_that_is_too_long_is_told(read):
    assert "larger than field limit" in refused(read, [GOOD[0], "x" * 200_000], ":3")


def test_file_without_queries_is_told(read):
    assert "no labelled query" in refused(read, [], "")


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file"), (b"", "the header is not|no column"), (b"\xff\xfe", "not UTF-8")],
)
@pytest.mark.parametrize("kind", ["labels", "taxonomy"])
def test_unreadable_file_is_told(tmp_path, taxonomy, kind, content, said):
    path = tmp_path / "file.tsv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_labels(path, TEXTS, taxonomy) if kind == "labels" else read_taxonomy(path)
    assert str(caught.value).startswith(str(path))


# --- leakage -----------------------------------------------------------------------------------


def labelled(texts: list[str], prefix: str) -> LabelledQueries:
    ids = [f"{prefix}:{number}" for number in range(len(texts))]
    return LabelledQueries(
        ids, texts, np.ones(len(texts), np.int64), np.zeros((len(texts), 1), bool)
    )


def test_text_in_both_sets_is_refused():
    refuse_leakage(labelled(["a", "b"], "mq"), labelled(["c"], "tb"), "training")
    with pytest.raises(DataError) as caught:
        refuse_leakage(labelled(["a", "b"], "mq"), labelled(["c", "a"], "tb"), "training")
    said = "1 of 2 test queries have the text of a training query: tb:1 that of mq:0"
    assert str(caught.value) == said


def test_the_first_five_texts_in_both_sets_are_named():
    names = list("abcdefg")
    with pytest.raises(DataError) as caught:
        refuse_leakage(labelled(names, "mq"), labelled(names, "tb"), "validation")
    said = str(caught.value)
    assert said.startswith("7 of 7 test queries have the text of a validation query: tb:0 that of")
    assert said.endswith(", tb:4 that of mq:4 and 2 more")


def test_dataset_with_leakage_is_refused(tmp_path):
    config = write_config(tmp_path, data__test="labels-train.tsv")
    with pytest.raises(DataError, match=r"labels-train\.tsv: \d+ of \d+ test queries have"):
        open_run(tmp_path / "run", config).data  # noqa: B018


# --- taxonomy ----------------------------------------------------------------------------------


@pytest.fixture
def read_lines(tmp_path):
    """``read_lines(lines)`` reads a taxonomy of these lines below the header."""

    def write_and_read(*lines):
        path = tmp_path / "taxonomy.tsv"
        path.write_text("\n".join(["code\ttopic\tsubtopic\tscope", *lines]) + "\n")
        return read_taxonomy(path)

    return write_and_read


def test_taxonomy(read_lines):
    found = read_lines("V\tVehicles\t\tcars", 'V1\tVehicles\tUsed "cars"\t', "T\tTravel\t\t")
    assert [(x.code, x.name, x.topic, x.scope) for x in found] == [
        ("V", "Vehicles", None, "cars"),
        ("V1", 'Used "cars"', "V", ""),
        ("T", "Travel", None, ""),
    ]
    assert found.parents.tolist() == [-1, 0, -1]


@pytest.mark.parametrize(
    ("bad", "place", "said"),
    [
        ("V1\tVehicles\tCars", ":3", "3 columns, expected 4"),
        ("\tVehicles\tCars\t", ":3", "empty code or topic"),
        ("V1\t\tCars\t", ":3", "empty code or topic"),
        ("T1\tTravel\tHotels\t", ":3", "the topic 'Travel' has no row before this one"),
        ("V\tVehicles\tCars\t", "", "'V' appears twice"),
    ],
)
def test_bad_taxonomy_line_is_told(read_lines, bad, place, said):
    with pytest.raises(DataError, match=said) as caught:
        read_lines("V\tVehicles\t\tcars", bad)
    assert f"taxonomy.tsv{place}: " in str(caught.value)


def test_taxonomy_without_labels_is_told(read_lines):
    with pytest.raises(DataError, match=r"taxonomy\.tsv: a taxonomy needs at least one label"):
        read_lines()


# --- the real files ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The shipped files with the real collections."""
    folder = tmp_path_factory.mktemp("real")
    config = write_config(folder, data__train=str(DATA / "labels-train.tsv"))
    return open_run(folder / "run", config).data


def test_real_files(real):
    assert len(real.taxonomy) == 356
    assert len(real.taxonomy.topics) == 24
    assert all(10 <= len(real.taxonomy.subtopics(x.code)) <= 20 for x in real.taxonomy.topics)
    assert len(real.validation) == 2_999
    assert len(real.train) == 47_938 - 2_999
    assert (len(real.test), len(real.pool)) == (999, 50_905)
    assert real.train.gold.any(axis=0).all()


def test_real_counts_are_those_of_the_collections(real):
    texts = list(queries().values())
    for labels in (real.train, real.test):
        assert len(set(labels.texts)) == len(labels)
    logged = dict.fromkeys(real.test.texts, 0)
    for text in texts:
        if text in logged:
            logged[text] += 1
    assert list(logged.values()) == real.test.counts.tolist()


def test_pool_has_no_labelled_text(real):
    pool = set(real.pool)
    assert len(pool) == len(real.pool)
    assert pool.isdisjoint(real.train.texts)
    assert pool.isdisjoint(real.test.texts)


def test_data_card_has_the_checksums_of_the_files():
    card = (DATA / "README.md").read_text(encoding="utf-8")
    for file in sorted(DATA.iterdir()):
        assert file.name == "README.md" or f"`{file.name}`" in card
        assert file.name == "README.md" or file_sha256(file) in card


def test_sums_of_a_dataset_are_those_of_its_files(real):
    assert real.sums["train"] == file_sha256(DATA / "labels-train.tsv")
    assert real.sums["test"] == file_sha256(DATA / "labels-test.tsv")
    assert real.sums["taxonomy"] == file_sha256(DATA / "taxonomy.tsv")


def test_dataset_needs_every_file(tmp_path):
    run = open_run(tmp_path, write_config(tmp_path, data__taxonomy="missing.tsv"))
    with pytest.raises(DataError, match=r"missing\.tsv: No such file"):
        load_dataset(run.config, run.cache, run.report)
