"""The gate of a promotion that reads what a running service has counted."""

from __future__ import annotations

import json
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from registry_support import ask, named
from service_support import free_port

from registry import history
from registry.people import Author
from registry.push import push
from registry.store import Registry
from service.comparison import rate
from topiccore.artifact import load, save

pytest.importorskip("scipy")
ANN = Author("ann", "here")
LENIENT = ["--latency-ratio", "1000", "--limits-reason", "other things run here"]
LENIENT += ["--figures-only", "these versions differ in nothing else"]
TOKEN = "a-token-of-enough-characters"


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("TOPICCORE_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.setenv("TOPICCORE_CACHE", str(tmp_path / "no-cache"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "registry"


@pytest.fixture
def ids(root, tmp_path, artifact_path, capsys):
    """Of two versions alike in quality; the first is current."""
    registry = Registry.open_or_make(root)
    quality = {"precision": 0.9, "coverage": 0.6}
    found = []
    for name in ("old", "new"):
        save(named(load(artifact_path), name, quality), tmp_path / name)
        found.append(push(registry, tmp_path / name, ANN).identity)
    assert ask(capsys, "promote", found[0])[0] == 0
    return found


def comparison(stable, candidate, *, compared=10_000, differing=100, failures=0):
    """As ``GET /v1/comparison`` gives it; tests of the service hold that to its description."""
    return {
        "stable": stable,
        "candidate": candidate,
        "mode": "shadow",
        "share": 1.0,
        "workers": 2,
        "compared": compared,
        "failures": failures,
        "differing": rate(differing, compared),
        "differing_best": rate(0, compared),
        "labels": [],
    }


@contextmanager
def service(content, status=200, token=None, headers=()):
    """A service that gives one answer; yields its address and the paths it was asked for."""
    asked = []
    body = content if isinstance(content, bytes) else json.dumps(content).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            allowed = token is None or self.headers["Authorization"] == f"Bearer {token}"
            self.send_response(status if allowed else 401)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def promote(capsys, ids, url, *more):
    return ask(capsys, "promote", ids[1], "--canary-url", url, *LENIENT, *more)


def gate(content):
    return {one["name"]: one for one in content["gates"]}["canary"]


def test_a_canary_that_answers_alike_is_promoted_and_its_counts_are_kept(root, ids, capsys):
    with service(comparison(*ids)) as (url, asked):
        code, content, _ = promote(capsys, ids, url + "/")
    assert (code, content["state"]) == (0, "promoted")
    assert asked == ["/v1/comparison"]
    found = gate(content)
    assert found["state"] == "passed"
    assert "100 of 10000 queries emit other labels" in found["text"]
    kept = history.read_history(root, "current")[-1]["gates"][-1]
    assert kept == found
    assert kept["figures"]["compared"] == 10_000
    assert kept["figures"]["differing"]["count"] == 100
    assert (kept["figures"]["stable"], kept["figures"]["candidate"]) == tuple(ids)
    assert "labels" not in kept["figures"]


@pytest.mark.parametrize(
    ("counts", "options", "decision"),
    [
        ({"differing": 900}, [], "reject"),
        ({"differing": 900}, ["--max-differing", "0.2"], "promote"),
        ({"differing": 100}, ["--max-differing", "0.005"], "reject"),
        ({"failures": 1}, [], "reject"),
        ({"compared": 500, "differing": 5}, [], "wait"),
        ({"compared": 500, "differing": 5}, ["--min-compared", "500"], "promote"),
        ({"differing": 480}, [], "wait"),
    ],
)
def test_limits(root, ids, capsys, counts, options, decision):
    with service(comparison(*ids, **counts)) as (url, _):
        code, content, errors = promote(capsys, ids, url, *options)
    assert code == (0 if decision == "promote" else 4)
    assert gate(content)["figures"]["decision"] == decision
    record = history.read_history(root, "current")[-1]
    assert record["action"] == ("promote" if decision == "promote" else "refused")
    assert Registry(root).current("current") == ids[decision == "promote"]
    assert ("too early to tell" in errors) == (decision == "wait")


@pytest.mark.parametrize("looser", [["--max-differing", "0.06"], ["--min-compared", "999"]])
def test_looser_limits_need_a_reason(root, ids, capsys, looser):
    with service(comparison(*ids)) as (url, asked):
        code, _, errors = ask(capsys, "promote", ids[1], "--canary-url", url, *looser)
        assert (code, asked) == (1, [])
        assert f"{' '.join(looser)} (default: " in errors
        assert "--limits-reason" in errors
        code, _, _ = promote(capsys, ids, url, *looser)
    assert code == 0
    limits = history.read_history(root, "current")[-1]["limits"]
    assert limits["reason"] == "other things run here"


def test_a_reason_overrides_it(root, ids, capsys):
    with service(comparison(*ids, differing=900)) as (url, _):
        code, content, _ = promote(capsys, ids, url, "--override", "the change is wanted")
    assert (code, gate(content)["state"]) == (0, "failed")
    assert history.read_history(root, "current")[-1]["override"] == "the change is wanted"


@pytest.mark.parametrize("swapped", ["candidate", "stable"])
def test_a_service_that_compares_other_versions(root, ids, capsys, swapped):
    content = comparison(*ids) | {swapped: "f" * 64}
    with service(content) as (url, _):
        code, _, errors = promote(capsys, ids, url, "--override", "no reason helps")
    assert code == 1
    wanted = ids[1] if swapped == "candidate" else ids[0]
    assert f"{url}/v1/comparison: its {swapped} is ffffffffffff, not {wanted[:12]}" in errors
    assert history.read_history(root, "current")[-1]["action"] == "promote"
    assert Registry(root).current("current") == ids[0]


def test_a_service_without_a_candidate(ids, capsys):
    with service(comparison(ids[0], None, compared=0, differing=0)) as (url, _):
        code, _, errors = promote(capsys, ids, url)
    assert code == 1
    assert f"its candidate is none, not {ids[1][:12]}" in errors


def test_the_token_of_a_file(ids, tmp_path, capsys):
    path = tmp_path / "token"
    path.write_text(f"# of the canary\n\n{TOKEN}\nanother-token-of-no-use\n")
    with service(comparison(*ids), token=TOKEN) as (url, _):
        code, _, errors = promote(capsys, ids, url)
        assert code == 1
        assert "401" in errors
        assert "--canary-token" in errors
        code, content, _ = promote(capsys, ids, url, "--canary-token", path)
    assert (code, content["state"]) == (0, "promoted")
    assert TOKEN not in json.dumps(content)


@pytest.mark.parametrize("text", ["", "# nothing\n", "two words\n", None])
def test_files_without_a_token(ids, tmp_path, capsys, text):
    path = tmp_path / "token"
    if text is not None:
        path.write_text(text)
    code, _, errors = promote(capsys, ids, "http://127.0.0.1:1", "--canary-token", path)
    assert code == 1
    assert f"{path}: " in errors
    assert "two words" not in errors


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"content": b"<html>"}, "no comparison"),
        ({"content": []}, "no comparison"),
        ({"content": {"candidate": 3}}, "not"),
        ({"content": b"", "status": 503}, "answers 503"),
        ({"content": b"", "status": 404}, "answers 404"),
        # What a redirect leads to was not named, and must not get the token.
        (
            {"content": b"", "status": 302, "headers": [("Location", "http://127.0.0.1:1/")]},
            "answers 302",
        ),
    ],
)
def test_what_is_no_comparison(root, ids, capsys, answer, message):
    with service(**answer) as (url, asked):
        code, _, errors = promote(capsys, ids, url)
    assert (code, asked) == (1, ["/v1/comparison"])
    assert message in errors
    assert f"{url}/v1/comparison: " in errors


def test_counts_that_are_missing(ids, capsys):
    content = comparison(*ids)
    del content["compared"]
    with service(content) as (url, _):
        code, _, errors = promote(capsys, ids, url)
    assert code == 1
    assert "no comparison: compared is missing" in errors


@pytest.mark.parametrize("url", ["127.0.0.1:80", "ftp://host/", "http://", "http://[::1", "file:/"])
def test_addresses_that_are_none(ids, capsys, url):
    code, _, errors = promote(capsys, ids, url)
    assert code == 1
    assert "is not the address of a service" in errors


def test_a_service_that_cannot_be_reached(ids, capsys):
    url = f"http://127.0.0.1:{free_port()}"
    code, _, errors = promote(capsys, ids, url)
    assert code == 1
    assert f"{url}/v1/comparison: cannot be asked" in errors
    assert "refused" in errors


def test_an_installation_without_the_service(ids, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "service.comparison", None)
    code, _, errors = promote(capsys, ids, "http://127.0.0.1:1")
    assert code == 1
    assert "pip install 'topiccore[serve]'" in errors
    # Without the option nothing of the service is needed.
    assert ask(capsys, "promote", ids[1], *LENIENT)[0] == 0


def test_a_corrupt_version_is_not_helped_by_a_good_canary(root, ids, capsys):
    path = Registry(root).version_path(ids[1])
    path.chmod(0o755)
    bias = path / "bias.npy"
    bias.chmod(0o644)
    bias.write_bytes(bias.read_bytes()[:-1] + b"\x01")
    with service(comparison(*ids)) as (url, _):
        code, content, _ = promote(capsys, ids, url, "--override", "no reason helps")
    assert code == 4
    assert content["gates"][0]["state"] == "failed"


@pytest.mark.parametrize("option", [["--max-differing", "2"], ["--min-compared", "-1"]])
def test_limits_that_are_none(ids, capsys, option):
    with pytest.raises(SystemExit) as stop:
        promote(capsys, ids, "http://127.0.0.1:1", *option)
    assert stop.value.code == 2


def test_a_served_shadow(root, ids, tmp_path, artifact_path, capsys):
    """The counts of a real service: a version that emits hardly anything is refused."""
    pytest.importorskip("granian")
    from service_support import running_server, wait_for

    artifact = load(artifact_path)
    shut = replace(
        named(artifact, "shut", {"precision": 0.9, "coverage": 0.6}),
        thresholds=artifact.thresholds + 50,
        beside=artifact.beside + 50,
    )
    save(shut, tmp_path / "shut")
    registry = Registry(root)
    shut = push(registry, tmp_path / "shut", ANN).identity
    (root / "channels" / "canary").symlink_to(f"../versions/{shut}")
    options = ["--registry", str(root), "--shadow", str(root / "channels" / "canary")]
    with running_server(None, tmp_path, *options, workers=1) as server:

        def compared():
            answer = server.ask("/v1/topics?q=used+honda+civic+dallas")
            assert json.loads(answer[2])["topics"]
            return json.loads(server.ask("/v1/comparison")[2])["compared"]

        wait_for(lambda: compared() >= 20)
        url = f"http://127.0.0.1:{server.port}"
        limits = ["--min-compared", "20", *LENIENT]
        code, content, _ = ask(capsys, "promote", shut, "--canary-url", url, *limits)
        assert code == 4
        assert [one["name"] for one in content["gates"] if one["state"] == "failed"] == ["canary"]
        assert gate(content)["figures"]["decision"] == "reject"
