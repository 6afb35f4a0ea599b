"""Serving what a channel of a registry has, and following it."""

from __future__ import annotations

import json
import shutil

import pytest

pytest.importorskip("granian")

from service_support import Askers, running_server, save_tiny_artifact, wait_for

from registry import channels
from registry.people import Author
from registry.push import push
from registry.store import Registry
from topiccore.cli import main

ANN = Author("ann", "here")


@pytest.fixture
def registry(tmp_path):
    return Registry.open_or_make(tmp_path / "registry")


@pytest.fixture
def ids(registry, tmp_path):
    found = []
    for name in ("one", "two"):
        save_tiny_artifact(tmp_path / name, collection=name)
        found.append(push(registry, tmp_path / name, ANN).identity)
        shutil.rmtree(tmp_path / name)
    return found


def move(registry, to):
    before = registry.current("current")
    channels.move(registry, "current", to, ANN, expected=before, action="promote")


def model_of(server):
    return json.loads(server.ask("/v1/model")[2])["id"]


@pytest.mark.parametrize("by", ["registry", "model"])
def test_promotions_and_rollbacks_under_load(registry, ids, tmp_path, by):
    move(registry, ids[0])
    root = registry.root
    options = ["--registry", str(root)]
    if by == "model":
        options = ["--model", str(root / "channels" / "current"), "--watch"]
    with running_server(None, tmp_path, *options, workers=1) as server:
        assert model_of(server) == ids[0]
        with Askers(server, 2) as askers:
            move(registry, ids[1])
            wait_for(lambda: model_of(server) == ids[1])
            channels.go_back(registry, "current", ANN)
            wait_for(lambda: model_of(server) == ids[0])
        assert askers.failures == []
        assert {model for pair in askers.answers for model in pair} <= set(ids)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--registry", "{}/nothing"], "nothing: no registry"),
        (["--registry", "{}"], "no channel 'current'"),
        (["--registry", "{}", "--channel", "canary"], "no channel 'canary'"),
        (["--registry", "{}", "--channel", "../versions"], "no channel '../versions'"),
    ],
)
def test_what_cannot_be_served(registry, arguments, message, capsys):
    assert main(["serve", *(x.format(registry.root) for x in arguments)]) == 1
    assert message in capsys.readouterr().err


def test_either_a_model_or_a_registry(registry, capsys):
    with pytest.raises(SystemExit):
        main(["serve", "--registry", str(registry.root), "--model", "x"])
    assert "not allowed with" in capsys.readouterr().err
