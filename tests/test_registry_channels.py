"""Channels: changes with a record, two at once, cut off in the middle; rollbacks; what is kept."""

from __future__ import annotations

import json
import os
import time
from itertools import pairwise

import pytest
from registry_support import ask, run_and_die, save_version, start

from registry import channels, history, layout
from registry.collect import SPARED_SECONDS, collect
from registry.errors import ConflictError, RegistryError
from registry.gates import Limits
from registry.lock import locked
from registry.people import Author
from registry.promote import promote
from registry.push import push
from registry.queries import QuerySource
from registry.store import Registry
from topiccore import load
from topiccore.cli import main

ANN, BOB = Author("ann", "here"), Author("bob", "there")


@pytest.fixture
def registry(tmp_path):
    return Registry.open_or_make(tmp_path / "registry")


@pytest.fixture
def ids(registry, tmp_path, taxonomy):
    """Four versions in the registry, in the order they were pushed."""
    names = ("one", "two", "three", "four")
    for name in names:
        save_version(tmp_path / "made", taxonomy, name)
    return [push(registry, tmp_path / "made" / name, ANN).identity for name in names]


def move(registry, to, channel="current", author=ANN):
    """A promotion whose gates are someone else's concern."""
    before = registry.current(channel)
    return channels.move(registry, channel, to, author, expected=before, action="promote")


def actions(registry, channel="current"):
    return [record["action"] for record in history.read_history(registry.root, channel)]


# --- changes and their records ------------------------------------------------------------------


def test_a_channel_is_a_relative_link(registry, ids, tmp_path):
    move(registry, ids[0])
    link = registry.root / "channels" / "current"
    assert os.readlink(link) == f"../versions/{ids[0]}"
    # A volume may be mounted anywhere.
    registry.root.rename(tmp_path / "elsewhere")
    assert load(tmp_path / "elsewhere" / "channels" / "current").id == ids[0]


def test_each_change_is_a_record(registry, ids):
    move(registry, ids[0])
    channels.move(
        registry, "current", ids[1], BOB, expected=ids[0], action="promote", reason="better"
    )
    first, second = history.read_history(registry.root, "current")
    assert (first["number"], first["who"], first["from"], first["to"]) == (1, "ann", None, ids[0])
    assert (second["number"], second["who"], second["from"]) == (2, "bob", ids[0])
    assert second["reason"] == "better"
    assert registry.channels() == {"current": ids[1]}


def test_channels_do_not_touch_one_another(registry, ids):
    move(registry, ids[0])
    move(registry, ids[1], "canary")
    move(registry, ids[2], "staging")
    assert registry.channels() == {"canary": ids[1], "current": ids[0], "staging": ids[2]}


@pytest.mark.parametrize("name", ["", "../x", "abcd", "Current", ".x", "a b", "a" * 64])
def test_names_that_channels_cannot_have(registry, ids, name):
    with pytest.raises(RegistryError, match="channel"):
        move(registry, ids[0], name)


def test_a_version_that_is_expected_and_not_there(registry, ids):
    move(registry, ids[0])
    with pytest.raises(
        ConflictError, match=f"has {ids[0][:12]}, not {ids[1][:12]}: promote by ann"
    ):
        channels.move(registry, "current", ids[2], BOB, expected=ids[1], action="promote")
    with pytest.raises(ConflictError, match="not no version"):
        channels.move(registry, "current", ids[2], BOB, expected=None, action="promote")
    with pytest.raises(ConflictError):
        channels.go_back(registry, "current", BOB, expected=ids[3])
    assert registry.current("current") == ids[0]
    assert actions(registry) == ["promote"]


def test_a_link_to_elsewhere_is_told(registry, tmp_path):
    (registry.root / "channels" / "current").symlink_to(tmp_path)
    with pytest.raises(RegistryError, match=r"channels/current: leads to"):
        registry.current("current")


# --- rollback -----------------------------------------------------------------------------------


def test_rollbacks_go_further_back(registry, ids):
    for identity in ids:
        move(registry, identity)
    for expected in reversed(ids[:-1]):
        record = channels.go_back(registry, "current", BOB, reason="bad")
        assert (record["action"], record["to"]) == ("rollback", expected)
        assert registry.current("current") == expected
    with pytest.raises(RegistryError, match="no earlier version"):
        channels.go_back(registry, "current", BOB)


def test_a_promotion_after_a_rollback(registry, ids):
    move(registry, ids[0])
    move(registry, ids[1])
    channels.go_back(registry, "current", ANN)
    move(registry, ids[2])
    # The one that was rolled back is never gone back to.
    assert channels.go_back(registry, "current", ANN)["to"] == ids[0]


def test_promoted_twice(registry, ids):
    for place in (0, 1, 0):
        move(registry, ids[place])
    assert channels.go_back(registry, "current", ANN)["to"] == ids[1]
    assert channels.go_back(registry, "current", ANN)["to"] == ids[0]
    with pytest.raises(RegistryError, match="no earlier"):
        channels.go_back(registry, "current", ANN)


def test_a_rollback_to_a_damaged_version(registry, ids):
    for identity in ids[:3]:
        move(registry, identity)
    (registry.version_path(ids[1]) / "rows.npy").unlink()
    with pytest.raises(RegistryError, match=rf"rows\.npy.*--to: {ids[0][:12]}"):
        channels.go_back(registry, "current", ANN)
    assert registry.current("current") == ids[2]
    assert channels.go_back(registry, "current", ANN, to=ids[0])["to"] == ids[0]
    with pytest.raises(RegistryError, match="no earlier"):
        channels.go_back(registry, "current", ANN)


def test_a_rollback_to_what_never_was(registry, ids):
    move(registry, ids[0])
    move(registry, ids[1])
    with pytest.raises(RegistryError, match="none of the earlier versions"):
        channels.go_back(registry, "current", ANN, to=ids[3])


# --- two at once --------------------------------------------------------------------------------


def test_the_gates_of_two_run_and_one_is_told(registry, ids, monkeypatch):
    move(registry, ids[0])
    import registry.promote as module

    def overtaken(*_):
        move(registry, ids[1], author=BOB)
        return []

    monkeypatch.setattr(module, "run_gates", overtaken)
    with pytest.raises(ConflictError, match=r"is not promoted.*promote by bob"):
        promote(registry, ids[2], "current", ANN, source=QuerySource(), limits=Limits())
    assert registry.current("current") == ids[1]


def test_processes_promote_at_once(registry, ids, tmp_path):
    queries = ["--expect", "none", "--registry", registry.root]
    processes = [start("promote", x, "--who", f"nr{x[:6]}", *queries) for x in ids]
    ends = [(process.communicate(timeout=60), process.returncode) for process in processes]
    codes = [code for _, code in ends]
    assert sorted(codes) == [0, 3, 3, 3], ends
    winner = ids[codes.index(0)]
    assert registry.current("current") == winner
    assert actions(registry) == ["promote"]
    for (_, errors), code in ends:
        if code == 3:
            assert f"has {winner[:12]}, not no version: promote by nr{winner[:6]}" in errors


def test_many_changes_by_many_processes(registry, ids):
    move(registry, ids[0])
    code = (
        "import sys\n"
        "from registry import channels\n"
        "from registry.errors import ConflictError\n"
        "from registry.people import Author\n"
        "from registry.store import Registry\n"
        f"registry = Registry(Path({str(registry.root)!r}))\n"
        "done = 0\n"
        "while done < 10:\n"
        "    try:\n"
        "        before = registry.current('current')\n"
        f"        to = {ids!r}[({ids!r}.index(before) + 1) % 4]\n"
        "        channels.move(registry, 'current', to, Author('x', 'y'),\n"
        "                      expected=before, action='promote')\n"
        "        done += 1\n"
        "    except ConflictError:\n"
        "        pass\n"
    )
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(run_and_die, [code] * 3)) == [0] * 3
    records = history.read_history(registry.root, "current")
    assert len(records) == 31
    # Every change began where the one before it ended, and none was lost.
    for earlier, later in pairwise(records):
        assert later["from"] == earlier["to"]
        assert later["to"] == ids[(ids.index(later["from"]) + 1) % 4]
    assert registry.current("current") == records[-1]["to"]


def test_a_lock_that_is_held(registry, ids):
    file = layout.lock_file(registry.root)
    held = pytest.raises(ConflictError, match=r"lock: held for 0 s by ann on here")
    with locked(file, ANN), held, locked(file, BOB, wait=0.05):
        pass
    with locked(file, BOB, wait=0):
        pass


# --- cut off in the middle ----------------------------------------------------------------------


def killed_promotion(registry, to, where):
    return run_and_die(
        f"import {where.rpartition('.')[0]} as module\n"
        "from registry import channels\n"
        "from registry.people import Author\n"
        "from registry.store import Registry\n"
        f"registry = Registry(Path({str(registry.root)!r}))\n"
        "before = registry.current('current')\n"
        f"module.{where.rpartition('.')[2]} = die\n"
        f"channels.move(registry, 'current', {to!r}, Author('ann', 'here'),\n"
        "              expected=before, action='promote')\n"
    )


@pytest.mark.parametrize(
    ("where", "recorded"),
    [
        ("registry.channels._append", False),
        ("registry.history.append_line", False),
        ("registry.channels._point", True),
        ("os.replace", True),
    ],
)
def test_a_promotion_that_is_killed_did_not_happen(registry, ids, where, recorded):
    move(registry, ids[0])
    move(registry, ids[1])
    assert killed_promotion(registry, ids[2], where) == -9
    assert registry.current("current") == ids[1]
    assert load(layout.channel_link(registry.root, "current")).id == ids[1]
    # The lock went with the process; the next change tells of what it found.
    move(registry, ids[3], author=BOB)
    expected = ["promote", "promote", *(["promote", "found"] if recorded else []), "promote"]
    assert actions(registry) == expected
    assert registry.channels() == {"current": ids[3]}
    assert channels.go_back(registry, "current", ANN)["to"] == ids[1]
    assert channels.go_back(registry, "current", ANN)["to"] == ids[0]


def test_killed_behind_the_change(registry, ids):
    move(registry, ids[0])
    assert killed_promotion(registry, ids[1], "registry.files.sync_folder") == -9
    assert registry.current("current") == ids[1]
    assert channels.go_back(registry, "current", ANN)["to"] == ids[0]
    assert actions(registry) == ["promote", "promote", "rollback"]


def test_a_record_that_was_half_written(registry, ids):
    move(registry, ids[0])
    file = layout.history_file(registry.root, "current")
    with file.open("a") as stream:
        stream.write('{"number": 2, "acti')
    assert actions(registry) == ["promote"]
    move(registry, ids[1])
    assert actions(registry) == ["promote", "promote"]
    assert all(json.loads(line) for line in file.read_text().splitlines())


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"number": 7}'])
def test_a_history_that_was_spoilt(registry, ids, line):
    move(registry, ids[0])
    with layout.history_file(registry.root, "current").open("a") as stream:
        stream.write(f"{line}\n")
    with pytest.raises(RegistryError, match=r"current\.jsonl:2: not"):
        move(registry, ids[1])
    assert registry.current("current") == ids[0]


def test_a_link_set_by_hand(registry, ids):
    move(registry, ids[0])
    link = layout.channel_link(registry.root, "current")
    link.unlink()
    link.symlink_to(f"../versions/{ids[2]}")
    move(registry, ids[1], author=BOB)
    assert actions(registry) == ["promote", "found", "promote"]
    assert channels.go_back(registry, "current", ANN)["to"] == ids[2]


# --- gc -----------------------------------------------------------------------------------------


def age(registry, identity):
    """Has a version look as if it had been pushed long ago."""
    path = registry.version_path(identity)
    record = json.loads((path / layout.RECORD).read_text())
    record["when"] = "2020-01-01T00:00:00.000000+00:00"
    (path / layout.RECORD).chmod(0o644)
    (path / layout.RECORD).write_text(json.dumps(record))
    long_ago = time.time() - 2 * SPARED_SECONDS
    os.utime(path, (long_ago, long_ago))


def test_gc_keeps_what_is_referred_to(registry, ids):
    for identity in ids:
        age(registry, identity)
    move(registry, ids[0])
    move(registry, ids[1])
    move(registry, ids[2], "canary")
    found = collect(registry, ANN, keep=10, dry_run=True)
    assert list(found.versions) == [ids[3]]
    assert len(registry.identities()) == 4
    assert collect(registry, ANN, keep=10) == found
    assert registry.identities() == sorted(ids[:3])
    # The last change of "current" still refers to both its versions; no change, only to one.
    assert list(collect(registry, ANN, keep=1, dry_run=True).versions) == []
    assert list(collect(registry, ANN, keep=0).versions) == [ids[0]]
    assert registry.channels() == {"canary": ids[2], "current": ids[1]}


def test_what_gc_deleted_is_told(registry, ids, capsys, monkeypatch):
    monkeypatch.setenv("TOPICCORE_REGISTRY", str(registry.root))
    for identity in ids[:3]:
        move(registry, identity)
    collect(registry, ANN, keep=1, force=True)
    assert registry.identities() == sorted(ids[1:3])
    code, shown, _ = ask(capsys, "show", "current")
    assert (shown["earlier"], shown["deleted"]) == ([ids[1], ids[0]], [ids[0]])
    assert main(["registry", "show", "current"]) == 0
    text = capsys.readouterr().out
    assert f"earlier   {ids[1][:12]}, {ids[0][:12]} (was deleted by gc)" in text
    code, _, errors = ask(capsys, "rollback", "--to", ids[0][:12])
    assert (code, f"{ids[0][:12]} was deleted by gc" in errors) == (1, True)
    collect(registry, ANN, keep=0, force=True)
    code, _, errors = ask(capsys, "rollback")
    assert code == 1
    assert f"the version before, {ids[1][:12]}, was deleted by gc" in errors
    # What is gone as well is no advice.
    assert "--to" not in errors
    assert registry.current("current") == ids[2]


def test_gc_spares_what_is_fresh(registry, ids, tmp_path):
    assert collect(registry, ANN, keep=0).versions == {}
    for identity in ids:
        age(registry, identity)
    # Pushed again just now, to be promoted.
    push(registry, tmp_path / "made" / "two", BOB)
    assert sorted(collect(registry, ANN, keep=0).versions) == sorted({*ids} - {ids[1]})
    assert list(collect(registry, ANN, keep=0, force=True).versions) == [ids[1]]
    assert registry.identities() == []


def test_gc_clears_pushes_that_died_long_ago(registry):
    incoming = layout.incoming_folder(registry.root)
    for name in ("old", "fresh"):
        (incoming / name).mkdir()
        (incoming / name / "rows.npy").write_bytes(b"half")
    os.utime(incoming / "old", (1, 1))
    assert list(collect(registry, ANN, keep=0, force=True).unfinished) == ["old"]
    assert [x.name for x in incoming.iterdir()] == ["fresh"]


def test_gc_that_is_killed(registry, ids):
    for identity in ids:
        age(registry, identity)
    assert (
        run_and_die(
            "import shutil\n"
            "from registry.collect import collect\n"
            "from registry.people import Author\n"
            "from registry.store import Registry\n"
            "shutil.rmtree = die\n"
            f"collect(Registry(Path({str(registry.root)!r})), Author('a', 'b'), keep=0)\n"
        )
        == -9
    )
    for identity in registry.identities():
        load(registry.version_path(identity))
    collect(registry, ANN, keep=0)
    assert registry.identities() == []


def test_gc_does_not_guess(registry, ids):
    for identity in ids:
        age(registry, identity)
    move(registry, ids[0])
    layout.history_file(registry.root, "current").write_text("nonsense\n")
    with pytest.raises(RegistryError, match=r"current\.jsonl:1"):
        collect(registry, ANN, keep=10, force=True)
    assert len(registry.identities()) == 4


def test_commands(registry, ids, capsys, monkeypatch):
    monkeypatch.setenv("TOPICCORE_REGISTRY", str(registry.root))
    for identity in ids[:2]:
        move(registry, identity)
    code, record, _ = ask(capsys, "rollback", "--reason", "complaints", "--who", "eve")
    assert (code, record["who"], record["to"], record["reason"]) == (0, "eve", ids[0], "complaints")
    code, _, errors = ask(capsys, "rollback")
    assert code == 1
    assert "no earlier version" in errors
    code, _, errors = ask(capsys, "rollback", "--expect", ids[1])
    assert code == 3
    assert "nothing was changed" in errors
    code, shown, _ = ask(capsys, "show", "current", "--last", "1")
    assert (code, shown["version"], len(shown["history"])) == (0, ids[0], 1)
    code, found, _ = ask(capsys, "gc", "--dry-run", "--force", "--keep", "0")
    assert code == 0
    assert sorted(found["versions"]) == sorted(ids[1:])
    assert len(registry.identities()) == 4
