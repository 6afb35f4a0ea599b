"""The annotation file: what is written is read again, and nothing else is taken for one."""

import json
import zipfile

import numpy as np
import pytest
import scipy.sparse as sp

from training.annotations import (
    LOGIT_STEP,
    Annotations,
    annotated_ids,
    dequantise,
    learned_ids,
    quantise,
    read_annotations,
    read_header,
    write_annotations,
)
from training.errors import DataError

CODES = ["A", "A01", "A02", "B"]
ABOUT = {"least": 0.02, "teacher": "0123", "data": {}}
TEXTS = {"mq:7": "used honda", "tb:3": "apple pie", "mq:1": "zürich weather", "mq:12": "xyzzy"}
SCORES = np.array([[0.9, 0.8, 0, 0], [0, 0, 0, 0.5], [0.03, 0, 0.02, 0.999], [0, 0, 0, 0]], "f4")


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "annotations.zip"
    logged = Annotations("logged", list(TEXTS), list(TEXTS.values()), sp.csr_matrix(SCORES))
    words = Annotations("words", ["word:70000"], ["honda"], sp.csr_matrix(SCORES[:1]))
    write_annotations(file, [logged, words], CODES, ABOUT)
    return file


def rewrite(path, change, name="header.json"):
    """Writes the archive again with one member changed."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    members[name] = change(members[name])
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in members.items():
            archive.writestr(member, data)


def test_scores_come_back_with_their_texts(path):
    found = read_annotations(path, {"logged": TEXTS}, CODES)
    logged = found.sources["logged"]
    assert dict(zip(logged.ids, logged.texts, strict=True)) == TEXTS
    rows = [list(TEXTS).index(identity) for identity in logged.ids]
    assert np.abs(logged.scores.toarray() - SCORES[rows]).max() < LOGIT_STEP / 8 + 1e-6
    assert (logged.scores.toarray() > 0).tolist() == (SCORES[rows] > 0).tolist()
    assert found.least == 0.02
    assert found.header["teacher"] == "0123"


def test_only_named_sources_are_read(path):
    assert list(read_annotations(path, {"words": {"word:70000": "honda"}}, CODES).sources) == [
        "words"
    ]
    with pytest.raises(DataError, match="no annotations of 'glove'"):
        read_annotations(path, {"glove": {}}, CODES)


def test_no_text_is_in_the_file(path):
    with zipfile.ZipFile(path) as archive:
        inside = b"".join(archive.read(name) for name in archive.namelist())
    assert not any(text.encode() in inside for text in TEXTS.values())


def test_numpy_alone_reads_the_arrays(path):
    with np.load(path) as arrays:
        assert np.cumsum(arrays["logged/mq/steps"]).tolist() == [1, 7, 12]
        assert arrays["logged/mq/labels"].tolist() == [3, 2, 0]
        assert arrays["logged/mq/codes"].tolist() == [0, 2, 3, 0, 1]


def test_equal_input_gives_equal_bytes(path, tmp_path):
    again = tmp_path / "again.zip"
    logged = Annotations("logged", list(TEXTS), list(TEXTS.values()), sp.csr_matrix(SCORES))
    words = Annotations("words", ["word:70000"], ["honda"], sp.csr_matrix(SCORES[:1]))
    write_annotations(again, [logged, words], CODES, ABOUT)
    assert again.read_bytes() == path.read_bytes()


def test_scores_are_kept_on_the_logit_scale():
    scores = np.linspace(0.02, 0.999, 500)
    kept = dequantise(quantise(scores)).astype(float)
    logit = np.log(scores / (1 - scores))
    assert np.abs(np.log(kept / (1 - kept)) - logit).max() <= LOGIT_STEP / 2 + 1e-4
    assert (np.diff(kept) >= 0).all()
    assert quantise(np.array([0.0, 1.0])).tolist() == [0, 255]


def test_another_text_is_refused(path):
    with pytest.raises(DataError, match="logged/mq: the texts are not those"):
        read_annotations(path, {"logged": TEXTS | {"mq:7": "new honda"}}, CODES)


def test_an_unknown_id_is_refused(path):
    known = {identity: text for identity, text in TEXTS.items() if identity != "tb:3"}
    with pytest.raises(DataError, match="logged/tb: id tb:3 is in no collection"):
        read_annotations(path, {"logged": known}, CODES)


def test_other_labels_are_refused(path):
    with pytest.raises(DataError, match="not those of the taxonomy"):
        read_annotations(path, {"logged": TEXTS}, CODES[::-1])


def test_another_format_is_refused(path):
    rewrite(path, lambda raw: json.dumps(json.loads(raw) | {"format": "x"}).encode())
    with pytest.raises(DataError, match="format is 'x'"):
        read_header(path)


def test_a_damaged_file_is_refused(path):
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"annotations\.zip"):
            read_annotations(path, {"logged": TEXTS}, CODES)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(DataError, match=r"none\.zip: not an annotation file"):
        read_header(tmp_path / "none.zip")


@pytest.mark.parametrize(
    ("member", "array", "message"),
    [
        ("labels", np.array([3, 2], np.uint8), "header says 3"),
        ("labels", np.array([3, 2, 1], np.uint8), "differ in number"),
        ("codes", np.array([0, 2, 3, 0, 9], np.uint16), "out of range"),
        ("scores", np.array([1], np.uint8), "differ in number"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(path, tmp_path, member, array, message):
    np.save(tmp_path / "array.npy", array)
    raw = (tmp_path / "array.npy").read_bytes()
    rewrite(path, lambda _: raw, f"logged/mq/{member}.npy")
    with pytest.raises(DataError, match=message):
        read_annotations(path, {"logged": TEXTS}, CODES)


def test_the_order_of_the_labelled_queries_is_kept(tmp_path):
    texts = {"tb:9": "nine", "mq:2": "two", "tb:3": "three", "mq:1": "one"}
    scores = sp.csr_matrix(np.full((4, len(CODES)), 0.5, np.float32))
    labelled = Annotations("labelled", list(texts), list(texts.values()), scores)
    path = tmp_path / "labelled.zip"
    write_annotations(path, [labelled], CODES, {"least": 0.02, "teacher": "0123", "data": {}})
    assert learned_ids(path) == list(texts)
    assert annotated_ids(path, ["labelled"]) == {"labelled": ["tb:3", "tb:9", "mq:1", "mq:2"]}


def test_a_file_without_an_order_is_told(path):
    with pytest.raises(DataError, match="no annotations of 'labelled'"):
        learned_ids(path)
