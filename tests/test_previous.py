"""The artifact that is replaced is kept, and nothing else is."""

from dataclasses import replace

import pytest

import topiccore
from topiccore.artifact import save
from training.previous import keeping_previous


def write(artifact, path, name):
    with keeping_previous(path):
        return save(replace(artifact, training={"name": name}), path, overwrite=True)


def test_only_another_artifact_moves_the_old_one(artifact, tmp_path):
    path, previous = tmp_path / "artifact", tmp_path / "previous"
    first = write(artifact, path, "first")
    assert not previous.exists()
    assert write(artifact, path, "first") == first
    assert not previous.exists()
    second = write(artifact, path, "second")
    assert topiccore.load(previous).id == first
    write(artifact, path, "second")
    assert topiccore.load(previous).id == first
    third = write(artifact, path, "third")
    assert topiccore.load(previous).id == second
    assert topiccore.load(path).id == third
    assert sorted(file.name for file in tmp_path.iterdir()) == ["artifact", "previous"]


def test_a_failure_moves_nothing(artifact, tmp_path):
    path, previous = tmp_path / "artifact", tmp_path / "previous"
    first, second = (write(artifact, path, name) for name in ("first", "second"))
    with pytest.raises(ZeroDivisionError), keeping_previous(path):
        raise ZeroDivisionError
    assert topiccore.load(path).id == second
    assert topiccore.load(previous).id == first
    assert sorted(file.name for file in tmp_path.iterdir()) == ["artifact", "previous"]


def test_a_damaged_artifact_is_replaced_and_not_kept(artifact, tmp_path):
    path = tmp_path / "artifact"
    write(artifact, path, "first")
    rows = path / "rows.npy"
    rows.write_bytes(rows.read_bytes()[:100])
    write(artifact, path, "second")
    assert [file.name for file in tmp_path.iterdir()] == ["artifact"]
