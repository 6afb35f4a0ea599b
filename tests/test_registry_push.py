"""Pushing: whole or not at all, once, verified, with what is known of a version."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from registry_support import ask, run_and_die, save_version, start

from registry import layout
from registry.errors import RegistryError
from registry.people import Author
from registry.push import push
from registry.store import Registry
from topiccore import ArtifactError, artifact
from topiccore.cli import main

AUTHOR = Author("ann", "here")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "registry"


@pytest.fixture
def registry(root):
    return Registry.open_or_make(root)


@pytest.fixture
def one(tmp_path, taxonomy):
    save_version(tmp_path, taxonomy, "one")
    return tmp_path / "one"


def test_a_version_is_the_artifact_under_its_id(registry, one):
    pushed = push(registry, one, AUTHOR, note="the first")
    assert pushed.state == "pushed"
    assert registry.identities() == [pushed.identity]
    assert pushed.path == registry.root / "versions" / pushed.identity
    assert artifact.load(pushed.path).id == pushed.identity == artifact.load(one).id
    for file in one.iterdir():
        assert (pushed.path / file.name).read_bytes() == file.read_bytes()
    record = registry.record(pushed.identity)
    assert (record["who"], record["host"], record["note"]) == ("ann", "here", "the first")
    assert list(layout.incoming_folder(registry.root).iterdir()) == []


def test_files_of_a_version_are_read_only(registry, one):
    path = push(registry, one, AUTHOR).path
    assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {0o444}
    assert path.stat().st_mode & 0o777 == 0o755


def test_again_changes_nothing(registry, one):
    first = push(registry, one, AUTHOR, note="kept")
    again = push(registry, one, Author("bob", "there"), note="not kept")
    assert (again.identity, again.state) == (first.identity, "already there")
    assert registry.record(first.identity)["who"] == "ann"


def test_strangers_in_the_folder_are_left_out(registry, one):
    (one / "notes.txt").write_text("mine")
    assert not (push(registry, one, AUTHOR).path / "notes.txt").exists()


@pytest.mark.parametrize("name", ["rows.npy", "manifest.json", "bias.npy"])
def test_a_damaged_artifact_is_refused(registry, one, name):
    content = bytearray((one / name).read_bytes())
    content[-5] ^= 1
    (one / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=name):
        push(registry, one, AUTHOR)
    assert registry.identities() == []


def test_a_copy_that_is_not_what_was_read_is_refused(registry, one, monkeypatch):
    import registry.push as module

    copy = module.copy_file

    def bad_copy(source, target):
        copy(source, target)
        if source.name == "rows.npy":
            target.chmod(0o644)
            target.write_bytes(target.read_bytes()[:-1] + b"?")

    monkeypatch.setattr(module, "copy_file", bad_copy)
    with pytest.raises(RegistryError, match="is not what was read"):
        push(registry, one, AUTHOR)
    assert registry.identities() == []
    assert list(layout.incoming_folder(registry.root).iterdir()) == []


def test_a_damaged_version_is_repaired_by_pushing_it_again(registry, one):
    path = push(registry, one, AUTHOR).path
    (path / "bias.npy").chmod(0o644)
    (path / "bias.npy").write_bytes(b"nothing")
    assert push(registry, one, AUTHOR).state == "repaired"
    artifact.load(path)


def test_a_report_is_kept_without_its_queries(registry, one, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copytree(one, run / "artifact")
    report = {"schema": "topiccore-report-2", "model": artifact.load(one).id, "queries": 7}
    report |= {"errors": [{"text": "secret query"}], "quality": {"queries": 7}}
    (run / "report.json").write_text(json.dumps(report))
    pushed = push(registry, run, AUTHOR)
    kept = registry.record(pushed.identity)["report"]
    assert (kept["queries"], kept["quality"]) == (7, {"queries": 7})
    assert "secret" not in (pushed.path / layout.RECORD).read_text()


def make_run(folder, one, queries):
    shutil.copytree(one, folder / "artifact")
    report = {"schema": "topiccore-report-2", "model": artifact.load(one).id, "queries": queries}
    report["measured_on"] = "test queries"
    (folder / "report.json").write_text(json.dumps(report))
    return folder


def test_a_report_that_comes_later_is_kept(registry, one, tmp_path, capsys):
    identity = push(registry, one, AUTHOR, note="kept").identity
    assert registry.record(identity)["report"] is None
    run = make_run(tmp_path / "run", one, 7)
    arguments = ["push", run, "--registry", registry.root, "--who", "bob"]
    code, pushed, errors = ask(capsys, *arguments)
    assert (code, pushed["state"]) == (0, "already there")
    assert "figures were added" in errors
    record = registry.record(identity)
    assert (record["who"], record["note"]) == ("ann", "kept")
    assert (record["report"]["queries"], record["report_added"]["who"]) == (7, "bob")
    assert (registry.version_path(identity) / layout.RECORD).stat().st_mode & 0o777 == 0o444
    assert main(["registry", "show", identity[:12], "--registry", str(registry.root)]) == 0
    assert "report    on 7 test queries, added" in capsys.readouterr().out
    # Once there, it stays.
    assert push(registry, run, AUTHOR).remarks == ()
    other = make_run(tmp_path / "other", one, 8)
    assert "another report" in push(registry, other, AUTHOR).remarks[0]
    assert registry.record(identity) == record


def test_a_report_on_another_artifact(registry, one, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copytree(one, run / "artifact")
    (run / "report.json").write_text(json.dumps({"model": "0" * 64}))
    assert "another artifact" in push(registry, run, AUTHOR).remarks[0]
    with pytest.raises(RegistryError, match=r"report\.json: is the report on another"):
        push(registry, one, AUTHOR, report=run / "report.json")


def test_folders_that_are_no_registry(tmp_path, root):
    with pytest.raises(RegistryError, match="no registry"):
        Registry(root)
    root.mkdir()
    (root / "thesis.txt").write_text("mine")
    with pytest.raises(RegistryError, match="not empty"):
        Registry.open_or_make(root)
    (root / "thesis.txt").unlink()
    layout.marker(root).write_text('{"format_version": 99}')
    with pytest.raises(RegistryError, match=r"registry\.json"):
        Registry(root)


def test_names_of_versions(registry, one):
    identity = push(registry, one, AUTHOR).identity
    assert registry.find(identity) == registry.find(identity[:4]) == identity
    for name, message in [
        ("ffff" * 16, "no version"),
        (identity[:3] + "!", "neither"),
        ("nothing", "no channel"),
    ]:
        with pytest.raises(RegistryError, match=message):
            registry.find(name)


@pytest.mark.parametrize(
    "step", ["registry.push.copy_file", "registry.push._verify", "os.rename", "shutil.rmtree"]
)
def test_a_push_that_is_killed(root, one, step):
    module, _, name = step.rpartition(".")
    assert (
        run_and_die(
            f"import {module} as module\n"
            "from registry.people import Author\n"
            "from registry.push import push\n"
            "from registry.store import Registry\n"
            f"registry = Registry.open_or_make(Path({str(root)!r}))\n"
            f"module.{name} = die\n"
            f"push(registry, Path({str(one)!r}), Author('ann', 'here'))\n"
        )
        == -9
    )
    registry = Registry(root)
    # All of it or nothing, and the next push is none the worse.
    for identity in registry.identities():
        artifact.load(registry.version_path(identity))
        registry.record(identity)
    assert push(registry, one, AUTHOR).state == (
        "already there" if step == "shutil.rmtree" else "pushed"
    )
    assert len(registry.identities()) == 1


def test_many_push_at_once(root, one, tmp_path, taxonomy):
    save_version(tmp_path, taxonomy, "two")
    processes = [
        start("push", source, "--registry", root, "--json")
        for source in (one, tmp_path / "two")
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, outputs
    states = sorted(json.loads(output)["state"] for output, _ in outputs)
    assert states == ["already there"] * 2 + ["pushed"] * 2
    assert len(Registry(root).identities()) == 2


def test_commands(root, one, capsys, monkeypatch):
    monkeypatch.setenv("TOPICCORE_REGISTRY", str(root))
    monkeypatch.setenv("TOPICCORE_WHO", "pipeline 7")
    code, pushed, _ = ask(capsys, "push", one, "--note", "hello\x1b[0m")
    assert (code, pushed["state"]) == (0, "pushed")
    code, [line], _ = ask(capsys, "list")
    assert (code, line["id"], line["who"], line["channels"]) == (0, pushed["id"], "pipeline 7", [])
    code, shown, _ = ask(capsys, "show", pushed["id"][:8])
    assert (code, shown["labels"], shown["damage"]) == (0, 10, None)
    assert shown["training"]["settings"] == {"epochs": 3}
    (root / "versions" / pushed["id"] / "rows.npy").unlink()
    code, shown, _ = ask(capsys, "show", pushed["id"][:8])
    assert code == 1
    assert "rows.npy" in shown["damage"]


@pytest.mark.parametrize("change", ["missing", "cut", "byte"])
def test_damage_that_a_list_finds_and_damage_that_show_finds(registry, one, capsys, change):
    path = push(registry, one, AUTHOR).path / "rows.npy"
    content = path.read_bytes()
    path.unlink()
    if change != "missing":
        path.write_bytes(content[:-1] + (bytes([content[-1] ^ 1]) if change == "byte" else b""))
    code, [line], _ = ask(capsys, "list", "--registry", registry.root)
    assert (code, "rows.npy" in str(line["damage"])) == (0, change != "byte")
    code, shown, _ = ask(capsys, "show", line["id"], "--registry", registry.root)
    assert (code, "rows.npy" in shown["damage"]) == (1, True)


def test_who_without_a_name(monkeypatch):
    import registry.people as people

    def nobody():
        raise KeyError("uid not found")

    monkeypatch.setattr(people.getpass, "getuser", nobody)
    assert people.author({}).who == f"user {os.getuid()}"
    assert people.author({"GITLAB_USER_LOGIN": "eve"}).who == "eve"
    assert people.author({"GITLAB_USER_LOGIN": "eve"}, "ann").who == "ann"
