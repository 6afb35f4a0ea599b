"""The parts of the story: phases and their counts, versions good and bad, commands that are run.

All of it, under load and behind HAProxy, is behind ``make story`` (the last test).
"""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import time
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("scipy")

from benchmarks.load.generator import Found
from benchmarks.story import __main__ as story
from benchmarks.story import variants
from benchmarks.story.timeline import Count, Phase, Tally, Timeline, read_counts
from benchmarks.story.transcript import Transcript, UnexpectedError
from registry.promote import Promotion
from tools import release
from tools.local import __main__ as local
from topiccore import ArtifactError, load
from topiccore.cli import GROUP

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "morning-to-afternoon.md"
A, B, C = "a" * 64, "b" * 64, "c" * 64


def timeline(*phases):
    """Phases of ten seconds each: allowed versions, and whether all must answer."""
    found = Timeline()
    for place, (allowed, shared) in enumerate(phases):
        start = 10.0 * place
        name = f"phase {place}"
        found.phases.append(Phase(name, frozenset(allowed), shared, start, start + 10))
    return found


def counts(*answers):
    """Counts every half second from what is answered at these times: ``(time, model)``."""
    found = []
    for step in range(61):
        now = step / 2 + 0.25
        models: dict[str, int] = {}
        failed = 0
        for at, model in answers:
            if at <= now:
                if model is None:
                    failed += 1
                else:
                    models[model] = models.get(model, 0) + 1
        found.append(Count(now, sum(models.values()), failed, models))
    return found


@pytest.mark.parametrize(
    ("record", "told"), [({"number": 1}, "passed the gates"), (None, "already")]
)
def test_a_release_tells_of_gates_only_when_they_ran(monkeypatch, record, told):
    registry = SimpleNamespace(current=lambda _: B)
    site = SimpleNamespace(
        registry=registry, in_containers=False, start_canary=lambda _: None, share=lambda _: None
    )
    monkeypatch.setattr(release, "push", lambda *_, **__: SimpleNamespace(identity=A, state="x"))
    promotion = Promotion(A, "canary", [], record)
    monkeypatch.setattr(release, "promote", lambda *_, **__: promotion)
    lines = []
    release._release(site, release.parser().parse_args(["run", "--percent", "0"]), lines.append)
    assert [told in line for line in lines].count(True) == 1


USUAL = [({A}, False), ({A, B}, True), ({B}, False)]


def problems(phases, *answers):
    tallies = timeline(*phases).tallies(counts(*answers))
    assert sum(one.answered for one in tallies) == sum(model is not None for _, model in answers)
    return [problem for one in tallies for problem in one.problems()]


GOOD = [(1, A), (9.9, A), (12, A), (13, B), (19, B), (19.9, A), (21, B), (29, B)]


def test_answers_of_versions_that_were_meant_to_serve():
    assert problems(USUAL, *GOOD) == []


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((5, B), "phase 0: 1 answers of bbbb"),
        ((15, C), "phase 1: 1 answers of cccc"),
        ((25, A), "phase 2: 1 answers of aaaa"),
        ((25, C), "phase 2: 1 answers of cccc"),
        ((25, None), "phase 2: 1 requests failed"),
        ((0, None), "phase 0: 1 requests failed"),
    ],
)
def test_what_should_not_have_been(answer, told):
    found = problems(USUAL, *GOOD, answer)
    assert len(found) == 1
    assert found[0].startswith(told)


def test_what_was_under_way_when_the_load_was_stopped_is_no_failure():
    def failed(*answers):
        tallies = timeline(*USUAL).tallies(counts(*GOOD, *answers), unfinished=1)
        return [one.failed for one in tallies]

    assert failed((30.2, None)) == [0, 0, 0]
    assert failed((25, None), (30.2, None)) == [0, 0, 1]
    assert failed((15, None), (30.2, None)) == [0, 1, 0]


def test_a_border_is_the_affair_of_the_phase_that_allows_more():
    # Counted from 9.75 to 10.25 and from 19.75 to 20.25.
    assert problems(USUAL, *GOOD, (9.9, B), (20.1, A)) == []
    assert problems(USUAL, *GOOD, (9.9, C)) != []
    assert problems(USUAL, *GOOD, (20.6, A)) != []


def test_a_canary_without_a_request_and_silence_are_told():
    only_a = [one for one in GOOD if not (one[1] == B and one[0] < 20)]
    assert problems(USUAL, *only_a) == ["phase 1: no answer of bbbbbbbbbbbb"]
    assert problems(USUAL, *GOOD[:-2]) == ["phase 2: no request was answered"]


def test_phases_follow_each_other_without_a_gap():
    found = Timeline()
    for name in ("one", "two"):
        with found.phase(name, {A}):
            time.sleep(0.001)
    found.end()
    assert found.phases[0].end <= found.phases[1].start < found.phases[1].end < time.monotonic()
    end = found.phases[1].end
    found.end()
    assert found.phases[1].end == end


def test_counts_of_a_file(tmp_path):
    path = tmp_path / "counts"
    path.write_text('{"time": 1.5, "answered": 3, "failed": 0, "models": {"a": 3}}\n')
    assert read_counts(path) == [Count(1.5, 3, 0, {"a": 3})]
    path.write_text("")
    with pytest.raises(ValueError, match="no counts"):
        read_counts(path)


def found_by_load(**changes):
    usual = {
        "issued": 10,
        "answered": 8,
        "right": 8,
        "answered_per_second": 1.0,
        "errors": {"unfinished": 2, "reset": 0},
        "statuses": {},
        "models": {A: 4, B: 4},
        "latency_us": dict.fromkeys(("p50", "p99", "p99.9", "max"), 1000.0),
        "lateness_us": {},
        "warm_up_errors": 0,
        "connects": 1,
        "connect_failures": 0,
        "idle_closes": 0,
        "cpu_seconds": 0.0,
        "seconds": 1.0,
    }
    return Found(**(usual | changes))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, None),
        ({"errors": {"unfinished": 0, "reset": 1}}, "1 of 10 requests failed: reset 1"),
        ({"right": 7}, "1 answers were wrong"),
        ({"models": {A: 8}}, "answered by aaaaaaaaaaaa"),
        ({"models": {A: 4, B: 3, C: 1}}, "answered by aaaaaaaaaaaa, bbbbbbbbbbbb, cccccccccccc"),
    ],
)
def test_the_verdict_on_the_whole_load(changes, told):
    tally = Tally(Phase("all", frozenset({A, B}), True, 0.0, 10.0), 8, 0, {A: 4, B: 4})
    names = {A: "first", B: "second"}
    found = found_by_load(**changes)
    assert story.verdict([tally], found, names) == ([told] if told else [])
    shown = story.summary([tally], names, found)
    assert "0.0-10.0" in shown
    assert "first or second" in shown


def test_versions_good_and_bad(artifact_path, tmp_path):
    source = load(artifact_path)
    identity = variants.other_thresholds(artifact_path, tmp_path / "other")
    other = load(tmp_path / "other")
    assert other.id == identity != source.id
    finite = np.isfinite(source.artifact.thresholds)
    assert finite.any()
    shifts = other.artifact.thresholds[finite] - source.artifact.thresholds[finite]
    assert np.allclose(np.abs(shifts), variants.SHIFT, atol=1e-5)
    assert (other.artifact.rows == source.artifact.rows).all()
    variants.shuffled(artifact_path, tmp_path / "worse")
    worse = load(tmp_path / "worse").artifact.rows
    assert (worse != source.artifact.rows).any()
    assert sorted(map(tuple, worse)) == sorted(map(tuple, source.artifact.rows))
    variants.corrupt(artifact_path, tmp_path / "broken")
    with pytest.raises(ArtifactError, match="SHA-256"):
        load(tmp_path / "broken")
    assert load(artifact_path).id == source.id


def test_commands_are_run_and_kept(capsys):
    transcript = Transcript({"TOPICCORE_REGISTRY": "no/where"})
    entry = transcript.run("topiccore --version")
    assert entry.output.startswith("topiccore ")
    transcript.run("topiccore registry list", code=1)
    with pytest.raises(UnexpectedError, match="ended with 1, not 0"):
        transcript.run("topiccore registry list")
    assert "no/where: no registry" in capsys.readouterr().out
    text = transcript.markdown()
    assert text.startswith("```console\n$ topiccore --version\n")
    assert "$ echo $?\n1" in text


# --- the page -----------------------------------------------------------------------------------


def commands():
    """The commands of the page's console blocks, continued lines joined."""
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    joined = "".join(blocks).replace("\\\n", " ")
    return [line[2:] for line in joined.splitlines() if line.startswith("$ ")]


def parse(command, monkeypatch):
    """Parses a command of ours as it would be; other programs must be known ones."""
    words = shlex.split(command.partition("#")[0].partition(" | ")[0])
    monkeypatch.setenv("TOPICCORE_REGISTRY", "runs/registry")
    if words[0] == "topiccore":
        (entry,) = entry_points(group=GROUP, name=words[1])
        parser = argparse.ArgumentParser()
        entry.load().configure(parser)
        parser.parse_args(words[2:])
    elif words[:3] == ["python", "-m", "tools.local"]:
        local.parser().parse_args(words[3:])
    elif words[:3] == ["python", "-m", "tools.release"]:
        release.parser().parse_args(words[3:])
    elif words[0] == "make":
        targets = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert re.search(rf"^{re.escape(words[1])}:", targets, flags=re.MULTILINE)
    elif words[0].startswith("ci/"):
        assert (ROOT / words[0]).exists()
    else:
        assert words[0] in {"export", ".", "curl", "echo", "apt-get", "cp", "sed"}, command


@pytest.mark.parametrize("command", commands())
def test_the_page_shows_commands_that_exist(command, monkeypatch):
    parse(command, monkeypatch)


def test_the_page_shows_the_whole_way():
    text = "\n".join(commands())
    for part in ("topiccore train", "registry push", "tools.release", "--canary-url", "rollback"):
        assert part in text
    for target in re.findall(r"\]\(([^)#:]+)[^)]*\)", PAGE.read_text(encoding="utf-8")):
        assert (PAGE.parent / target).exists(), target


def test_what_does_not_parse_is_found(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        parse("topiccore registry promote x --no-such-option", monkeypatch)
    with pytest.raises(SystemExit):
        parse("python -m tools.local share 101", monkeypatch)
    with pytest.raises(AssertionError):
        parse("make no-such-target", monkeypatch)


# --- all of it ----------------------------------------------------------------------------------


@pytest.mark.system
def test_the_story(tmp_path, capsys):
    """Under load, on the artifact of ``make demo``, in processes behind HAProxy."""
    if shutil.which("haproxy") is None:
        pytest.skip("haproxy is not installed")
    assert story.main(["--out", str(tmp_path / "story"), "--pause", "5"]) == 0
    assert "the story holds" in capsys.readouterr().out
