"""A new artifact: taken up, refused, found by link, file and signal; workers that are killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from pathlib import Path

import falcon.testing
import pytest
from service_support import (
    DEADLINE,
    Askers,
    children,
    link,
    running_server,
    save_tiny_artifact,
    wait_for,
)

from registry import channels
from registry.people import Author
from registry.push import push
from registry.store import Registry
from service.app import create_app
from service.live import LiveModel
from service.location import find_artifact, signature
from service.reloader import Reloader, take_up
from service.shared import make_folder, open_control, remove_folder
from service.worker import _first
from topiccore import ArtifactError


@pytest.fixture
def artifacts(tmp_path):
    """Two artifacts, by their ids."""
    return {
        save_tiny_artifact(tmp_path / "versions" / name, collection=name): tmp_path
        / "versions"
        / name
        for name in ("one", "two")
    }


@pytest.fixture
def folder():
    folder, control = make_folder()
    yield folder
    remove_folder(folder)
    del control


def spoil(path):
    (path / "bias.npy").write_bytes(b"nothing")


# --- where the artifact is ----------------------------------------------------------------------


def test_places(artifacts, tmp_path):
    one, two = artifacts.values()
    assert find_artifact(one) == one
    link(one, tmp_path / "link")
    assert find_artifact(tmp_path / "link") == one
    registry = tmp_path / "registry"
    registry.mkdir()
    link(Path("../versions/two"), registry / "current")
    assert find_artifact(registry) == two
    (registry / "current").unlink()
    (registry / "current").write_text("../versions/one\n")
    assert find_artifact(registry) == one


def test_the_folder_of_topiccore_registry(artifacts, tmp_path):
    one, two = artifacts.values()
    registry = Registry.open_or_make(tmp_path / "registry")
    for artifact in (one, two):
        push(registry, artifact, Author("ann", "here"))
    for identity in registry.identities():
        channels.move(
            registry,
            "current",
            identity,
            Author("ann", "here"),
            expected=registry.current("current"),
            action="promote",
        )
        found = signature(registry.root)
        assert find_artifact(registry.root) == registry.version_path(identity)
    assert signature(registry.root) == found


@pytest.mark.parametrize("text", [b"", b"\n", b"a\nb", b"\xff", b"a\0b"])
def test_current_that_names_nothing(tmp_path, text):
    (tmp_path / "current").write_bytes(text)
    with pytest.raises(ArtifactError, match="current"):
        find_artifact(tmp_path)


def test_signature(artifacts, tmp_path):
    one, two = artifacts.values()
    link(one, tmp_path / "link")
    before = signature(tmp_path / "link")
    assert signature(tmp_path / "link") == before
    link(two, tmp_path / "link")
    assert signature(tmp_path / "link") != before
    changed = signature(two)
    os.utime(two / "rows.npy")
    assert signature(two) != changed
    with pytest.raises(OSError, match="missing"):
        signature(tmp_path / "missing")


# --- taking up ----------------------------------------------------------------------------------


@pytest.fixture
def reloader(artifacts, tmp_path, folder):
    link(next(iter(artifacts.values())), tmp_path / "link")
    live = LiveModel(take_up(tmp_path / "link", folder))
    return Reloader(
        tmp_path / "link", live, watch=True, folder=folder, control=open_control(folder)
    ), live


def test_a_replaced_artifact_is_taken_up_once_it_is_steady(reloader, artifacts, tmp_path):
    reloader, live = reloader
    one, two = artifacts
    for _ in range(3):
        reloader.look()
        assert live.current.model.id == one
    link(artifacts[two], tmp_path / "link")
    reloader.look()
    assert live.current.model.id == one
    reloader.look()
    assert live.current.model.id == two


def test_a_broken_artifact_is_refused_once_and_the_old_one_goes_on(
    reloader, artifacts, tmp_path, caplog
):
    reloader, live = reloader
    one, two = artifacts
    good = tmp_path / "good"
    shutil.copytree(artifacts[two], good)
    spoil(artifacts[two])
    link(artifacts[two], tmp_path / "link")
    for _ in range(5):
        reloader.look()
    assert live.current.model.id == one
    assert caplog.text.count("refused") == 1
    assert "bias.npy" in caplog.text
    link(good, tmp_path / "link")
    reloader.look()
    reloader.look()
    assert live.current.model.id == two


def test_an_artifact_that_is_gone_changes_nothing(reloader, artifacts, tmp_path):
    reloader, live = reloader
    (tmp_path / "link").unlink()
    for _ in range(3):
        reloader.look()
    assert live.current.model.id == next(iter(artifacts))


def test_reload_takes_up_without_a_second_look(reloader, artifacts, tmp_path):
    reloader, live = reloader
    link(artifacts[list(artifacts)[1]], tmp_path / "link")
    reloader.reload()
    assert live.current.model.id == list(artifacts)[1]


def test_reload_of_the_same_artifact_keeps_the_loaded_one(reloader):
    reloader, live = reloader
    before = live.current
    reloader.reload()
    assert live.current is before


def test_a_request_keeps_the_model_it_began_with(artifacts, folder):
    one, two = (take_up(path, None) for path in artifacts.values())
    live = LiveModel(one)
    client = falcon.testing.TestClient(create_app(live))

    class Slow:
        """A body that comes while the model is replaced."""

        def read(self, size=-1):
            live.current = two
            return b'{"query":"honda"}'

    start = falcon.testing.StartResponseMock()
    environ = falcon.testing.create_environ("/v1/topics", method="POST") | {
        "wsgi.input": Slow(),
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": "17",
    }
    body = json.loads(b"".join(client.app(environ, start)))
    assert body["model"] == start.headers_dict["x-topiccore-model"] == one.model.id
    assert client.simulate_get("/v1/model").json["id"] == two.model.id


def test_a_worker_in_the_place_of_a_killed_one_takes_the_last_good_artifact(artifacts, folder):
    one, two = artifacts.values()
    control = open_control(folder)
    assert control.last_good is None
    assert _first(one, None, control).model.id == next(iter(artifacts))
    assert control.last_good == one
    spoil(two)
    assert _first(two, None, control).model.id == next(iter(artifacts))
    with pytest.raises(ArtifactError):
        _first(two, None, None)


def test_what_killed_servers_have_left_is_removed(folder):
    other, control = make_folder()
    assert folder.exists()
    control.call()
    assert open_control(other).calls() == 1
    del control
    third, _ = make_folder()
    assert not other.exists()
    remove_folder(third)


# --- running servers ----------------------------------------------------------------------------


def models(server):
    """The ids that new connections get to hear; enough to reach every worker."""
    return {json.loads(server.ask("/v1/model")[2])["id"] for _ in range(20)}


def test_new_artifacts_under_requests_by_watching(artifacts, tmp_path):
    one, two = artifacts
    link(artifacts[one], tmp_path / "link")
    with running_server(tmp_path / "link", tmp_path, "--watch") as server:
        with Askers(server) as askers:
            for identity in (two, one, two):
                link(artifacts[identity], tmp_path / "link")
                wait_for(lambda identity=identity: models(server) == {identity})
        assert askers.failures == []
        assert set(askers.answers) == {(one, one), (two, two)}
        assert "refused" not in server.log


def test_new_artifact_by_a_signal_and_a_broken_one_refused(artifacts, tmp_path):
    one, two = artifacts
    link(artifacts[one], tmp_path / "link")
    with running_server(tmp_path / "link", tmp_path) as server:
        with Askers(server) as askers:
            link(artifacts[two], tmp_path / "link")
            assert models(server) == {one}
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda: models(server) == {two})
            shutil.copytree(artifacts[one], tmp_path / "broken")
            spoil(tmp_path / "broken")
            link(tmp_path / "broken", tmp_path / "link")
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda: server.log.count("refused") == 2)
            assert models(server) == {two}
        assert askers.failures == []
        assert server.process.poll() is None


def test_killed_workers_come_back_and_others_go_on(artifacts, tmp_path):
    """Also when the artifact was spoiled since: the last good one is taken."""
    one, two = artifacts
    link(artifacts[one], tmp_path / "link")
    with running_server(tmp_path / "link", tmp_path) as server:
        spoil(artifacts[two])
        link(artifacts[two], tmp_path / "link")
        for round_number in (1, 2, 3):
            workers = children(server)
            os.kill(workers[0], signal.SIGKILL)
            wait_for(lambda: server.log.count("ready: ") == 2 + round_number)  # noqa: B023
            wait_for(lambda: len(children(server)) == 2)
            assert models(server) == {one}
        assert server.process.poll() is None
        assert server.stop(signal.SIGTERM) in (0, 1)
        assert children_are_gone(workers)


def children_are_gone(pids):
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_workers_end_when_the_main_process_is_killed(artifacts, tmp_path):
    with running_server(next(iter(artifacts.values())), tmp_path) as server:
        workers = children(server)
        server.process.kill()
        server.process.wait(DEADLINE)
        wait_for(lambda: children_are_gone(workers))


def test_a_request_under_way_is_answered_before_the_server_stops(artifacts, tmp_path):
    with (
        running_server(next(iter(artifacts.values())), tmp_path) as server,
        contextlib.closing(server.connect()) as connection,
    ):
        body = b'{"query":"honda"}'
        connection.putrequest("POST", "/v1/topics")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:5])
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        connection.send(body[5:])
        response = connection.getresponse()
        assert response.status == 200
        assert json.loads(response.read())["topics"]
        assert server.process.wait(DEADLINE) == 0
