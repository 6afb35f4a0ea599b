"""A registry that several people write to, each with an account of their own."""

from __future__ import annotations

import os

import pytest
from registry_support import ask, save_version

from registry import layout
from registry.people import Author
from registry.push import push
from registry.store import Registry

ANN, BOB = Author("ann", "here"), Author("bob", "here")


@pytest.fixture(params=[0o2775, 0o755], ids=["shared", "own"])
def root(request, tmp_path, monkeypatch):
    root = tmp_path / "registry"
    root.mkdir()
    root.chmod(request.param)
    monkeypatch.setenv("TOPICCORE_REGISTRY", str(root))
    before = os.umask(0o022)
    yield root
    os.umask(before)


def mode(path):
    return path.stat().st_mode & 0o7777


def test_what_is_made_has_the_groups_permissions_of_the_root(root, tmp_path, taxonomy, capsys):
    identity = save_version(tmp_path, taxonomy, "one")
    assert ask(capsys, "push", tmp_path / "one")[0] == 0
    assert ask(capsys, "promote", identity)[0] == 0
    folder, file = (0o2775, 0o664) if mode(root) & 0o020 else (0o755, 0o644)
    for name in ("versions", f"versions/{identity}", "channels", "history", "incoming"):
        assert mode(root / name) == folder, name
    for name in ("lock", "history/current.jsonl"):
        assert mode(root / name) == file, name
    assert {mode(one) for one in (root / "versions" / identity).iterdir()} == {0o444}


def test_a_push_that_died_can_be_deleted_by_others(root, tmp_path, taxonomy, monkeypatch):
    registry = Registry.open_or_make(root)
    save_version(tmp_path, taxonomy, "one")
    seen = []
    monkeypatch.setattr(
        "registry.push.copy_file", lambda _, target: seen.append(mode(target.parent)) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        push(registry, tmp_path / "one", ANN)
    assert seen == [mode(layout.incoming_folder(root))]


def test_pushing_what_another_has_pushed(root, tmp_path, taxonomy, monkeypatch):
    registry = Registry.open_or_make(root)
    save_version(tmp_path, taxonomy, "one")
    push(registry, tmp_path / "one", ANN)

    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    assert push(registry, tmp_path / "one", BOB).state == "already there"
