"""Images are built again when the code has changed, and not when nothing has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import container_check as images
from tools.local import containers
from tools.local.build_context import digest, files

ROOT = Path(__file__).parents[1]


@pytest.fixture
def context(tmp_path):
    (tmp_path / "topiccore/data").mkdir(parents=True)
    (tmp_path / "topiccore/__pycache__").mkdir()
    for name in ("Dockerfile", "model.Dockerfile", "setup.py", "other.py", "topiccore/a.py"):
        (tmp_path / name).write_text(name)
    (tmp_path / "topiccore/__pycache__/a.pyc").write_text("compiled")
    (tmp_path / "topiccore/data/big").write_text("data")
    ignored = ["# why", "*", "!setup.py", "!topiccore", "**/__pycache__", "topiccore/data"]
    (tmp_path / ".dockerignore").write_text("\n".join(ignored))
    return tmp_path


def test_the_context_is_what_is_let_through(context):
    assert list(files(context)) == ["setup.py", "topiccore/a.py"]
    found = set(files(ROOT))
    assert {"pyproject.toml", "topiccore/_scoring.pyx", "service/static/index.html"} <= found
    assert not [one for one in found if one.endswith((".so", ".pyc", "_scoring.c"))]
    assert not [one for one in found if one.startswith(("training/data/", "topiccore/pretrained/"))]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("topiccore/a.py", True),
        ("topiccore/new.py", True),
        ("Dockerfile", True),
        ("other.py", False),
        ("topiccore/__pycache__/a.pyc", False),
        ("topiccore/data/big", False),
    ],
)
def test_the_digest_changes_with_the_code(context, name, changes):
    before = digest(context)
    (context / name).write_text("changed")
    assert (digest(context) != before) == changes


class Store:
    """A store of images that keeps names alone."""

    build_options = ()

    def __init__(self):
        self.names, self.built = set(), []

    def __call__(self, action, source, name):
        assert (action, source in self.names) == ("tag", True)
        self.names.add(name)

    def has(self, name):
        return name in self.names

    def build(self, log, program, artifact, service, name):
        assert service in self.names
        self.built.append("model")
        self.names.add(name)


def test_an_image_of_older_code_is_not_taken(context, monkeypatch):
    store = Store()

    def build_all(*_):
        store.built.append("service")
        store.names |= {images.SERVICE, images.IMAGE}

    monkeypatch.setattr(containers, "store", lambda _: store)
    monkeypatch.setattr(images, "make_base", lambda *_: None)
    monkeypatch.setattr(images, "build", build_all)
    monkeypatch.setattr(images, "ROOT", context)

    def build(identity):
        name = containers.build(context, context / "artifact", identity)
        assert store.has(name)
        return name

    one, two = "1" * 64, "2" * 64
    assert build(one) == build(one) == "localhost/topiccore:" + "1" * 12
    build(two)
    assert store.built == ["service", "model"]
    (context / "topiccore/a.py").write_text("changed")
    build(two)
    build(one)
    assert store.built == ["service", "model", "service", "model"]
