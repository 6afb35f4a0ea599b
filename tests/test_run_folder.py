"""A run's folder: files whole or not at all, damage told by name, notes of what is finished."""

import json

import numpy as np
import pytest

from training.errors import TrainingError
from training.files import replacing
from training.run_folder import RunFolder, key_from

ARRAYS = {
    "rows": np.arange(6, dtype=np.float32).reshape(2, 3),
    "buckets": np.array([1, 2], np.uint32),
    "none": np.zeros(0),
}


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


def files(folder) -> list[str]:
    return sorted(file.name for file in folder.path.iterdir()) if folder.path.exists() else []


# --- arrays and JSON ---------------------------------------------------------------------------


def test_arrays_come_back_as_they_were(folder):
    folder.save_arrays("x", ARRAYS)
    found = folder.load_arrays("x")
    assert set(found) == set(ARRAYS)
    for name, values in ARRAYS.items():
        assert found[name].dtype == values.dtype
        assert np.array_equal(found[name], values)
    assert files(folder) == ["x.npz"]


def test_json_comes_back_as_it_was(folder):
    folder.save_json("x", {"a": [1, 2.5, "ü", None]})
    assert folder.load_json("x") == {"a": [1, 2.5, "ü", None]}
    assert files(folder) == ["x.json"]


def test_what_is_missing_is_told(folder):
    for load, name in ((folder.load_arrays, "x.npz"), (folder.load_json, "x.json")):
        with pytest.raises(TrainingError, match="No such file or directory") as caught:
            load("x")
        assert str(caught.value).startswith(f"{folder.path / name}: ")
        assert "topiccore train --again" in str(caught.value)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    # Within the first array's data, which its checksum covers.
    place = content.index(b"\n") + 3
    return content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]


@pytest.mark.parametrize(
    "damage", [cut, flip, lambda _: b"", lambda _: b"PK\x03\x04 no zip", lambda _: b"hello"]
)
def test_damaged_arrays_are_told(folder, damage):
    folder.save_arrays("x", ARRAYS)
    file = folder.path / "x.npz"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(TrainingError) as caught:
        folder.load_arrays("x")
    assert str(caught.value).startswith(f"{file}: ")


def test_pickles_are_refused(folder):
    folder.path.mkdir()
    np.savez(folder.path / "x.npz", rows=np.array([{"a": 1}], dtype=object))
    with pytest.raises(TrainingError, match="allow_pickle=False"):
        folder.load_arrays("x")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff"])
def test_damaged_json_is_told(folder, content):
    folder.path.mkdir()
    (folder.path / "x.json").write_bytes(content)
    with pytest.raises(TrainingError, match=r"x\.json: "):
        folder.load_json("x")


# --- whole or not at all -----------------------------------------------------------------------


def test_a_failing_writer_leaves_the_old_file(tmp_path):
    file = tmp_path / "x"
    file.write_text("old")

    def write(content: list[str]) -> None:
        with replacing(file) as partial:
            partial.write_text("ne")
            partial.write_text(content[0])

    with pytest.raises(IndexError):
        write([])
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_writer_takes_the_place_at_its_end(tmp_path):
    file = tmp_path / "new" / "x"
    with replacing(file) as partial:
        partial.write_text("whole")
        assert not file.exists()
    assert file.read_text() == "whole"
    assert list(file.parent.iterdir()) == [file]


def test_failing_arrays_leave_the_old_ones(folder, monkeypatch):
    folder.save_arrays("x", ARRAYS)

    def full(stream, **arrays):
        stream.write(b"PK")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(TrainingError, match=r"cannot write .*x\.npz: No space left on device"):
        folder.save_arrays("x", {})
    assert set(folder.load_arrays("x")) == set(ARRAYS)
    assert files(folder) == ["x.npz"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    folder = RunFolder(tmp_path / "file" / "run")
    for write in (lambda: folder.save_json("x", 1), lambda: folder.finish("a", "b")):
        with pytest.raises(TrainingError, match=f"cannot write {folder.path}.*: Not a directory"):
            write()


# --- notes -------------------------------------------------------------------------------------


def test_notes(folder):
    assert folder.key_of("vectors") is None
    folder.begin("vectors")
    assert files(folder) == []
    folder.finish("vectors", "k1")
    folder.finish("student", "k2")
    assert (folder.key_of("vectors"), folder.key_of("student")) == ("k1", "k2")
    assert RunFolder(folder.path).key_of("student") == "k2"
    folder.begin("vectors")
    assert (folder.key_of("vectors"), folder.key_of("student")) == (None, "k2")
    folder.finish("vectors", "k3")
    assert folder.key_of("vectors") == "k3"
    assert files(folder) == ["stages.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff"])
def test_unreadable_notes_are_none(folder, content):
    folder.path.mkdir()
    (folder.path / "stages.json").write_bytes(content)
    assert folder.key_of("vectors") is None
    folder.begin("vectors")
    folder.finish("vectors", "k")
    assert json.loads((folder.path / "stages.json").read_text()) == {"vectors": "k"}


def test_keys():
    key = key_from("a", 1, {"x": 1, "y": [2.5]})
    assert len(key) == 64
    assert key == key_from("a", 1, {"y": [2.5], "x": 1})
    others = [key_from("a", 2, {"x": 1, "y": [2.5]}), key_from("a", 1, {"x": 1, "y": [2.6]})]
    assert len({key, *others, key_from("a", 1), key_from("a", "1")}) == 5
