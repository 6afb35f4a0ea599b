"""The files of the page for people, and ``GET /v1/stats``; test_page_browser.py has the rest."""

from __future__ import annotations

import gzip
import re
import tomllib
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import falcon.testing
import pytest
from service_support import check_problem, post, save_tiny_artifact, steady_headers

import service
from service import request_meter
from service.answer_counts import AnswerCounts
from service.app import create_app
from service.ledger import Ledger, Totals
from service.live import LiveModel, prepare
from service.page import PATHS
from service.request_meter import RequestMeter
from service.settings import Settings
from service.stats import summary
from service.tokens import Tokens
from topiccore import load

FOLDER = Path(service.__file__).with_name("static")
FILES = sorted(path for path in FOLDER.iterdir() if path.is_file())
SCRIPTS = [path for path in FILES if path.suffix == ".js"]
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
NAMESPACE = "http://www.w3.org/2000/svg"
VOID = frozenset({"meta", "link", "input", "img", "br"})


def url(path: Path) -> str:
    return "/" if path.name == "index.html" else f"/static/{path.name}"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "tiny"
    save_tiny_artifact(path, training={"expected": {"coverage": 0.7, "labels": {}}})
    return load(path)


@pytest.fixture(scope="module")
def client(model):
    return falcon.testing.TestClient(create_app(model))


class Outline(HTMLParser):
    """Ids, what refers to ids and to files, inline code; holds tags to be closed in order."""

    def __init__(self):
        super().__init__()
        self.ids: Counter[str] = Counter()
        self.references: set[str] = set()
        self.files: set[str] = set()
        self.labelled: set[str] = set()
        self.fields: list[tuple[str, dict[str, str]]] = []
        self.open: list[tuple[str, bool]] = []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        assert "style" not in given
        assert tag != "style"
        assert not [name for name in given if name.startswith("on")]
        assert tag != "script" or "src" in given
        if "id" in given:
            self.ids[given["id"]] += 1
        for name in ("for", "aria-labelledby", "aria-describedby", "aria-controls"):
            self.references.update((given.get(name) or "").split())
        self.files.update(given[name] for name in ("src", "href") if name in given)
        if tag == "label" and "for" in given:
            self.labelled.add(given["for"])
        if tag in ("input", "select", "textarea", "progress"):
            within = any(name == "label" for name in self.open)
            self.fields.append((tag, given | {"within": within}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def outline():
    found = Outline()
    found.feed((FOLDER / "index.html").read_text(encoding="utf-8"))
    assert found.open == []
    return found


# --- how the files are served ---------------------------------------------------------------------


def test_every_file_is_served(client):
    assert {url(path) for path in FILES} == PATHS
    for path in FILES:
        result = client.simulate_get(url(path))
        assert result.status_code == 200
        assert result.content == path.read_bytes()
        assert result.headers["content-type"] == TYPES[path.suffix]
        assert result.headers["x-content-type-options"] == "nosniff"
        assert result.headers["cache-control"] == "no-cache"


def test_the_wheel_has_the_files():
    project = tomllib.loads((FOLDER.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["setuptools"]["package-data"]["service"] == ["static/*"]


def test_the_page_lets_nothing_in(client):
    headers = client.simulate_get("/").headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert {policy[f"{kind}-src"] for kind in ("script", "style", "img", "connect")} == {"'self'"}
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["frame-ancestors"] == policy["form-action"] == policy["base-uri"] == "'none'"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", sorted(PATHS))
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_head_is_get_without_the_body(client, path, encoding):
    headers = {"Accept-Encoding": encoding}
    head = client.simulate_head(path, headers=headers)
    full = client.simulate_get(path, headers=headers)
    assert head.content == b""
    assert steady_headers(head) == steady_headers(full)
    assert int(full.headers["content-length"]) == len(full.content)


@pytest.mark.parametrize(
    ("header", "packed"),
    [
        *(("gzip", True), ("GZIP;q=0.5", True), ("br, gzip", True), ("gzip; q=1", True)),
        *(
            ("", False),
            ("gzip;q=0", False),
            ("gzip; q=0.0", False),
            ("br", False),
            ("x-gzip", False),
        ),
    ],
)
def test_gzip(client, header, packed):
    result = client.simulate_get("/", headers={"Accept-Encoding": header})
    assert (result.headers.get("content-encoding") == "gzip") == packed
    assert result.headers["vary"] == "Accept-Encoding"
    content = gzip.decompress(result.content) if packed else result.content
    assert content == (FOLDER / "index.html").read_bytes()


def test_who_has_a_file_is_told_so(client):
    for path in PATHS:
        tags = set()
        for encoding in ("identity", "gzip"):
            headers = {"Accept-Encoding": encoding}
            tag = client.simulate_get(path, headers=headers).headers["etag"]
            for given in (tag, f'"other", {tag}', f"W/{tag}", "*"):
                again = client.simulate_get(path, headers=headers | {"If-None-Match": given})
                assert again.status_code == 304
                assert again.content == b""
                assert again.headers["etag"] == tag
            stale = client.simulate_get(path, headers=headers | {"If-None-Match": '"other"'})
            assert stale.status_code == 200
            tags.add(tag)
        packed = client.simulate_get(path, headers={"Accept-Encoding": "gzip"})
        assert len(tags) == 1 + ("content-encoding" in packed.headers)


@pytest.mark.parametrize(
    "path", ["/static", "/static/", "/static/none.js", "/static/../app.py", "/static/%2e%2e/app.py"]
)
def test_other_files_are_not(client, path):
    check_problem(client.simulate_get(path), 404)


def test_methods(client):
    result = client.simulate_post("/")
    check_problem(result, 405)
    assert "GET" in result.headers["allow"]


def test_the_page_is_open_and_what_it_asks_is_not(model, tmp_path):
    (tmp_path / "tokens").write_text("a" * 32)
    client = falcon.testing.TestClient(create_app(model, tokens=Tokens(tmp_path / "tokens")))
    for path in PATHS:
        assert client.simulate_get(path).status_code == 200
    for path in (
        "/v1/topics",
        "/v1/model",
        "/v1/taxonomy",
        "/v1/stats",
        "/openapi.json",
        "/static/x",
    ):
        check_problem(client.simulate_get(path), 401)


def test_the_page_is_small():
    assert sum(len(gzip.compress(path.read_bytes())) for path in FILES) < 40_000


# --- what is in the files -------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_comes_from_elsewhere(path):
    text = path.read_text(encoding="utf-8").replace(NAMESPACE, "")
    assert not re.search(r"\w+://|//[a-z0-9-]+\.[a-z]|@import|url\(|integrity|preconnect", text)


def test_ids(outline):
    assert [name for name, count in outline.ids.items() if count > 1] == []
    assert outline.references <= set(outline.ids)
    used = {
        name
        for path in SCRIPTS
        for text in [path.read_text(encoding="utf-8")]
        for name in re.findall(r"(?:byId|facts)\('([^']+)'", text)
        + [
            x
            for y in re.findall(r"of \[((?:'query-[^\]]+)+)\]", text)
            for x in re.findall("'([^']+)'", y)
        ]
    }
    assert len(used) > 50
    assert used <= set(outline.ids)


def test_files_that_are_named_are_there(outline):
    names = {name for name in outline.files if not name.startswith("#")}
    assert {f"/{name}" for name in names} <= PATHS | {"/openapi.json"}
    for path in SCRIPTS:
        imported = re.findall(r"from '\./([^']+)'", path.read_text(encoding="utf-8"))
        assert {f"/static/{name}" for name in imported} <= PATHS


def test_every_field_has_a_label(outline):
    for tag, given in outline.fields:
        named = given.get("id") in outline.labelled or given["within"] or "aria-label" in given
        assert named, (tag, given)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_text_cannot_become_markup(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc|"
        r"DOMParser|createContextualFragment|setHTML|localStorage|document\.cookie",
        text,
    )


def test_queries_stay_out_of_addresses():
    for path in SCRIPTS:
        assert not re.search(r"v1/[a-z:]+\?", path.read_text(encoding="utf-8"))


# --- GET /v1/stats --------------------------------------------------------------------------------


def test_stats_of_a_server_that_does_not_count(client):
    check_problem(client.simulate_get("/v1/stats"), 404, detail="keeps no counts")


@pytest.fixture
def counting(model, tmp_path):
    counts = AnswerCounts(tmp_path, model)
    counts.set_live(True)
    app = create_app(
        LiveModel(prepare(model, counts)),
        Settings(max_query_bytes=100),
        meter=RequestMeter(tmp_path),
        ledger=Ledger(tmp_path),
    )
    return falcon.testing.TestClient(app)


def test_stats(counting, model, monkeypatch):
    monkeypatch.setattr("service.stats.KEEP_SECONDS", 0.0)
    before = counting.simulate_get("/v1/stats").json
    assert before["requests"] == {"total": 0, "refused": 0, "failed": 0}
    assert before["workers"] == 1
    counting.simulate_get("/v1/topics?q=honda+xyz")
    post(counting, {"query": "zzz"})
    post(counting, {"query": "x" * 200})
    counting.simulate_get("/v1/model")
    found = counting.simulate_get("/v1/stats")
    assert found.headers["cache-control"] == "no-store"
    content = found.json
    assert content["model"] == model.id
    assert content["requests"] == {"total": 3, "refused": 0, "failed": 0}
    assert content["answers"] == {"queries": 2, "covered": 1, "tokens": 3, "unknown_tokens": 2}
    assert content["expected"] == {"coverage": 0.7}
    for name, count in (("request_seconds", 3), ("kernel_seconds", 2)):
        histogram = content[name]
        assert sum(histogram["counts"]) == count
        assert len(histogram["counts"]) == len(histogram["bounds"]) + 1
        assert histogram["bounds"] == sorted(histogram["bounds"])
        assert histogram["sum"] > 0
    assert content["time"] >= before["time"]
    assert counting.simulate_head("/v1/stats").content == b""


def test_stats_are_given_again_for_a_moment(counting, monkeypatch):
    monkeypatch.setattr("service.stats.KEEP_SECONDS", 1000.0)
    first = counting.simulate_get("/v1/stats").content
    post(counting, {"query": "honda"})
    assert counting.simulate_get("/v1/stats").content == first


def test_refused_and_failed_requests():
    totals = Totals()
    for route, status, count in (
        *(("/v1/topics", "200", 10), ("/v1/topics", "503", 3), ("/v1/topics:batch", "500", 2)),
        *(("/v1/topics:batch", "413", 1), ("/v1/model", "503", 7), ("/", "200", 9)),
    ):
        totals.counts[(request_meter.REQUESTS_NAME, (route, "GET", status))] = count
    found = summary(totals)
    assert found["requests"] == {"total": 16, "refused": 3, "failed": 2}
    assert found["model"] is None
    assert found["answers"] == {"queries": 0, "covered": 0, "tokens": 0, "unknown_tokens": 0}


def test_thresholds_as_scores(client, model):
    found = post(client, {"query": "honda", "explain": True}).json["topics"]
    assert [x["explanation"]["threshold_score"] for x in found] == [0.5, 0.5]
    for label, explained in zip(found, model.explain("honda"), strict=True):
        above = label["score"] >= label["explanation"]["threshold_score"]
        assert above or explained.context_logit < explained.threshold
