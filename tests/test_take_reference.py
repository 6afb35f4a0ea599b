"""Which artifact may come with the package."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

import topiccore
from topiccore.artifact import save

TOOL = Path(__file__).resolve().parent.parent / "tools" / "take_reference.py"


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """The tool, with a package of its own that has no artifact."""
    spec = importlib.util.spec_from_file_location("take_reference", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    package = tmp_path / "package" / "pretrained"
    package.parent.mkdir()
    monkeypatch.setattr(module, "PRETRAINED", package)
    monkeypatch.setattr("topiccore.model.PRETRAINED", package)
    return module


@pytest.fixture
def made(artifact, tmp_path):
    """Makes an artifact with these figures, and returns its path."""

    def make(name, once=(0.93, 0.75, 0.5), traffic=(0.93, 0.75, 0.5), test="aa"):
        quality = {
            view: {
                weighting: {"precision": precision, "coverage": share}
                for weighting, (precision, share) in shares.items()
            }
            for view, shares in (
                ("all labels", {"queries": once[:2], "traffic": traffic[:2]}),
                ("subtopics", {"queries": once[::2], "traffic": traffic[::2]}),
            )
        }
        described = replace(
            artifact, training={"quality": quality}, data={"sha256": {"test": test}}
        )
        save(described, tmp_path / name)
        return tmp_path / name

    return make


def in_package(tool):
    return topiccore.load(tool.PRETRAINED).id if tool.PRETRAINED.exists() else None


def test_a_good_artifact_is_taken(tool, made, capsys):
    path = made("good")
    assert tool.main(path) == 0
    assert in_package(tool) == topiccore.load(path).id
    assert tool.main(path) == 0
    assert "already" in capsys.readouterr().out
    assert [file.name for file in tool.PRETRAINED.parent.iterdir()] == ["pretrained"]


@pytest.mark.parametrize(
    ("place", "said"),
    [(0, "precision"), (1, "coverage"), (2, "coverage of subtopics")],
)
@pytest.mark.parametrize("weighting", ["once", "traffic"])
def test_each_bar_holds_each_query_once_and_by_traffic(tool, made, capsys, place, said, weighting):
    figures = [0.9, 0.7, 0.45]
    assert tool.main(made("just", **{weighting: tuple(figures)})) == 0
    before = in_package(tool)
    figures[place] -= 0.001
    assert tool.main(made("below", **{weighting: tuple(figures)})) == 1
    by = " by traffic" if weighting == "traffic" else ""
    assert f"{said}{by} {figures[place]:.1%}, at least" in capsys.readouterr().err
    assert in_package(tool) == before


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"once": (0.93, 0.7599, 0.5)}, "coverage 76.0%"),
        ({"once": (0.95, 0.75, 0.6)}, "coverage 75.0%"),
        ({"once": (0.93, 0.8, 0.5), "traffic": (0.93, 0.7499, 0.5)}, "coverage by traffic 75.0%"),
        ({"once": (0.93, 0.9, 0.5), "test": "bb"}, "other test queries"),
    ],
)
def test_an_artifact_is_replaced_only_for_a_real_gain(tool, made, capsys, figures, said):
    assert tool.main(made("first")) == 0
    before = in_package(tool)
    assert tool.main(made("second", **figures)) == 1
    assert said in capsys.readouterr().err
    assert in_package(tool) == before


def test_a_real_gain_replaces_the_artifact(tool, made):
    assert tool.main(made("first")) == 0
    better = made("second", once=(0.91, 0.76, 0.5))
    assert tool.main(better) == 0
    assert in_package(tool) == topiccore.load(better).id


def test_another_gain_is_told(tool, made, capsys):
    assert tool.main(made("first")) == 0
    faster = made("second", once=(0.93, 0.755, 0.5))
    assert tool.main(faster, "  ") == 1
    assert tool.main(faster, "it is faster") == 0
    assert "it is faster" in capsys.readouterr().out
    assert in_package(tool) == topiccore.load(faster).id


def test_a_reason_does_not_lower_a_bar(tool, made, capsys):
    assert tool.main(made("first")) == 0
    before = in_package(tool)
    assert tool.main(made("worse", once=(0.93, 0.69, 0.5)), "it is faster") == 1
    assert "coverage 69.0%, at least" in capsys.readouterr().err
    assert in_package(tool) == before


def test_an_artifact_without_figures_is_not_taken(tool, artifact, tmp_path, capsys):
    save(replace(artifact, training={}, data={}), tmp_path / "bare")
    assert tool.main(tmp_path / "bare") == 1
    assert "no test queries" in capsys.readouterr().err
    assert in_package(tool) is None
