"""Peers side by side: the cache key, the worker's protocol, on topiccore itself."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.machine import ROOT
from benchmarks.peers import PEERS, cache, topiccore_artifact
from benchmarks.peers.server import Server
from topiccore import TopicModel, reference

NAME = "topiccore_artifact"


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    path = tmp_path / "questions.json"
    path.write_text(json.dumps(["used honda civic", "red dress", "pizza"]), encoding="utf-8")
    return path


def test_every_peer_has_the_same_names() -> None:
    # Read, not imported: their libraries are not needed to test.
    for module in PEERS.values():
        text = (ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8")
        for name in ("TITLE", "PACKAGES", "SETTINGS"):
            assert f"\n{name}" in text, module
        for name in ("train", "load", "score", "score_batch", "probabilities"):
            assert f"def {name}(" in text or f'"{name}"' in text, module


def test_key_changes_with_settings_and_data(monkeypatch: pytest.MonkeyPatch) -> None:
    first = cache.key(topiccore_artifact, {"train": "ab"})
    assert cache.key(topiccore_artifact, {"train": "ab"}) == first
    assert cache.key(topiccore_artifact, {"train": "cd"}) != first
    monkeypatch.setattr(topiccore_artifact, "SETTINGS", {"epochs": 2})
    assert cache.key(topiccore_artifact, {"train": "ab"}) != first


def test_server_answers_rounds(artifact_path: Path, questions: Path) -> None:
    with Server(NAME, artifact_path, questions) as server:
        assert 0 < server.first < 60
        single = server.ask("single", 1, 10.0)
        assert len(single) == 3
        assert min(single) >= 0
        assert 0 < server.ask("batch", 1, 0.5) < 1
        memory = server.ask("memory")
        assert 0 < memory["private"] <= memory["peak"]


def test_probabilities_are_the_models(
    artifact_path: Path, questions: Path, tmp_path: Path, model: TopicModel
) -> None:
    output = tmp_path / "found.npy"
    cache.run(
        cache.worker_command(
            "probabilities", NAME, artifact_path, queries=questions, output=output
        ),
        print,
    )
    found = np.load(output)
    for row, query in zip(found, json.loads(questions.read_text()), strict=True):
        scores = dict(reference.score(model.artifact, query, min_score=0.0))
        expected = [scores[label.code] for label in model.taxonomy]
        assert row == pytest.approx(np.array(expected), rel=1e-5)


def test_failed_training_leaves_nothing(tmp_path: Path, questions: Path) -> None:
    # topiccore's own peer cannot be trained here, which stands for any failure.
    targets = tmp_path / "targets.npy"
    np.save(targets, np.zeros((3, 4), np.float32))
    inputs = {"queries": questions, "targets": targets}
    with pytest.raises(cache.PeerError, match="topiccore train"):
        cache.trained(NAME, topiccore_artifact, tmp_path / "cache", {}, inputs, print)
    assert list((tmp_path / "cache").iterdir()) == []


def test_server_that_dies_is_an_error(tmp_path: Path, questions: Path) -> None:
    with pytest.raises(cache.PeerError, match=NAME):
        Server(NAME, tmp_path / "none", questions)


def test_worker_runs_as_a_module(questions: Path) -> None:
    outcome = subprocess.run(
        cache.worker_command("serve", "unknown", questions), capture_output=True, cwd=ROOT
    )
    assert outcome.returncode == 2
