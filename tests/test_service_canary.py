"""A second artifact: who answers, what is counted, how it comes and goes, what may be promoted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import urllib.request

import falcon.testing
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from scipy.stats import binomtest
from service_support import (
    WORDS,
    Askers,
    children,
    free_port,
    link,
    post,
    running_server,
    save_tiny_artifact,
    wait_for,
)

from service.app import create_app
from service.candidate import CANARY, SHADOW, number
from service.candidate_source import CandidateSource, candidate_source
from service.comparison import (
    ComparisonError,
    Decision,
    Limits,
    rate,
    verdict,
    wilson,
)
from service.counters import read_all
from service.live import LiveModel
from service.metrics import ServiceCollector
from service.reloader import Reloader
from service.request_meter import RequestMeter
from service.settings import Settings, SettingsError
from service.shared import make_folder, open_control, remove_folder
from service.taking_up import take_up
from topiccore import Taxonomy, TaxonomyLabel
from topiccore._scoring import hash_tokens
from topiccore.artifact import Artifact, build_index, save

jsonschema_rs = pytest.importorskip("jsonschema_rs")

OTHER_LABELS = [
    TaxonomyLabel("V", "Vehicles", None),
    TaxonomyLabel("F", "Food and drink", None),
    TaxonomyLabel("F2", "Soups", "F"),
    TaxonomyLabel("V1", "Cars", "F"),
]
"""F1 is not there, F2 is new, and V1 has moved."""
OTHER_WORDS = {"honda": "V1", "truck": "V", "soup": "F2", "creme": "F", "flight": "V"}


def save_other(path):
    """An artifact with another taxonomy, in another order."""
    codes = [label.code for label in OTHER_LABELS]
    index, places, _ = build_index(hash_tokens(OTHER_WORDS), np.array([], np.uint32))
    rows = np.zeros((len(OTHER_WORDS), len(codes)), np.float32)
    for place, code in zip(places, OTHER_WORDS.values(), strict=True):
        rows[place, codes.index(code)] = 8.0
    return save(
        Artifact(
            taxonomy=Taxonomy(OTHER_LABELS),
            index=index,
            rows=rows,
            bias=np.full(len(codes), -4.0, np.float32),
            thresholds=np.zeros(len(codes), np.float32),
            slopes=np.ones(len(codes), np.float32),
            intercepts=np.zeros(len(codes), np.float32),
            training={},
            data={},
        ),
        path,
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("canary")
    for name in ("one", "two"):
        save_tiny_artifact(path / name, collection=name)
    save_other(path / "other")
    return path


@pytest.fixture
def artifacts(saved, tmp_path):
    """Copies that a test may spoil."""
    shutil.copytree(saved, tmp_path / "artifacts")
    return tmp_path / "artifacts"


@pytest.fixture
def folder():
    folder, control = make_folder()
    yield folder
    remove_folder(folder)
    del control


def client_of(saved, mode, share, folder=None, candidate="other"):
    stable = take_up(saved / "one", folder)
    source = CandidateSource(saved / candidate, mode, share, folder)
    live = LiveModel(source.beside(stable))
    meter = None if folder is None else RequestMeter(folder)
    return falcon.testing.TestClient(create_app(live, meter=meter))


def ask(client, query, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.simulate_get("/v1/topics", params={"q": query}, headers=headers)


def comparison(client):
    result = client.simulate_get("/v1/comparison")
    assert result.status_code == 200
    assert result.headers["cache-control"] == "no-store"
    document = client.simulate_get("/openapi.json").json
    schema = document["components"]["schemas"]["Comparison"]
    jsonschema_rs.Draft202012Validator(schema).validate(result.json)
    return result.json


def by_code(found):
    return {
        label["code"]: (label["both"], label["stable_only"], label["candidate_only"])
        for label in found["labels"]
    }


def prometheus(text):
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


# --- who answers --------------------------------------------------------------------------------


def test_a_shadow_never_answers(saved, folder):
    """Every answer is to the byte what it is without a shadow."""
    alone = falcon.testing.TestClient(create_app(take_up(saved / "one", None).model))
    client = client_of(saved, SHADOW, 1.0, folder)
    for query in (*WORDS, "honda soup", "nothing", ""):
        for options in ({}, {"topics_only": "true"}, {"explain": "true"}, {"min_score": "0.1"}):
            asked = {"params": {"q": query} | options, "headers": {"X-Topiccore-Canary": "always"}}
            found = client.simulate_get("/v1/topics", **asked)
            expected = alone.simulate_get("/v1/topics", **asked)
            assert found.content == expected.content
            assert found.headers["x-topiccore-model"] == expected.headers["x-topiccore-model"]


def test_a_canary_answers_its_share_by_request_id(saved):
    client = client_of(saved, CANARY, 0.25)
    told = comparison(client)
    expected = {True: told["candidate"], False: told["stable"]}
    answered = 0
    for i in range(400):
        result = ask(client, "soup", X_Request_Id=f"request-{i}")
        chosen = number(f"request-{i}") < 0.25 * 2**32
        answered += chosen
        assert result.json["model"] == result.headers["x-topiccore-model"] == expected[chosen]
    assert comparison(client)["compared"] == answered
    assert 60 < answered < 140


def test_the_choice_is_fixed():
    """Other processes and machines choose the same, so this may never change."""
    assert [number(text) for text in ("a", "7f3a")] == [3391310933, 664617439]


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_ids_that_follow_each_other_are_chosen_evenly(share):
    chosen = sum(number(f"3b6c57b5666b82d6-{i:x}") < share * 2**32 for i in range(20_000))
    assert binomtest(chosen, 20_000, share).pvalue > 1e-4


@pytest.mark.parametrize(("share", "role"), [(0.0, "stable"), (1.0, "candidate")])
def test_all_or_nothing(saved, share, role):
    client = client_of(saved, CANARY, share)
    told = comparison(client)
    for i in range(50):
        assert ask(client, "soup", X_Request_Id=str(i)).json["model"] == told[role]
    assert post(client, {"query": "soup"}).json["model"] == told[role]
    batch = {"queries": ["soup", "honda"]}
    result = client.simulate_post("/v1/topics:batch", json=batch)
    assert result.json["model"] == result.headers["x-topiccore-model"] == told[role]
    assert comparison(client)["compared"] == (53 if share else 0)


def test_a_header_picks_the_artifact_and_is_not_compared(saved):
    client = client_of(saved, CANARY, 0.5)
    told = comparison(client)
    for i in range(20):
        for word, role in (("always", "candidate"), ("never", "stable")):
            found = ask(client, "soup", X_Topiccore_Canary=word, X_Request_Id=str(i))
            assert found.json["model"] == told[role]
    assert comparison(client)["compared"] == 0
    chosen = [ask(client, "soup", X_Request_Id=str(i)).json["model"] for i in range(20)]
    ignored = [
        ask(client, "soup", X_Request_Id=str(i), X_Topiccore_Canary="maybe").json["model"]
        for i in range(20)
    ]
    assert chosen == ignored


@pytest.mark.parametrize("path", ["/v1/model", "/v1/taxonomy", "/readyz", "/v1/comparison"])
def test_other_paths_tell_of_the_stable_artifact(saved, path):
    client = client_of(saved, CANARY, 1.0)
    stable = take_up(saved / "one", None).model.id
    result = client.simulate_get(path, headers={"X-Topiccore-Canary": "always"})
    assert result.headers["x-topiccore-model"] == stable


# --- what is counted ----------------------------------------------------------------------------

# Of the queries "honda", "soup", "creme", "flight" and "nothing".
COMPARED = {
    "V": (0, 1, 1),
    "V1": (1, 0, 0),
    "F": (2, 0, 1),
    "F1": (0, 1, 0),
    "F2": (0, 0, 1),
}
QUERIES = ("honda", "soup", "creme", "flight", "nothing")


@pytest.mark.parametrize("mode", [CANARY, SHADOW])
@pytest.mark.parametrize("way", ["get", "post", "batch", "explain"])
@pytest.mark.parametrize("shared", [True, False])
def test_differences_are_counted_by_code(saved, folder, mode, way, shared):
    """Whoever answers, and with other taxonomies in the two."""
    client = client_of(saved, mode, 1.0, folder if shared else None)
    if way == "batch":
        assert (
            client.simulate_post("/v1/topics:batch", json={"queries": QUERIES}).status_code == 200
        )
    for query in QUERIES if way != "batch" else ():
        if way == "post":
            assert post(client, {"query": query}).status_code == 200
        else:
            params = {"q": query} | ({"explain": "true"} if way == "explain" else {})
            assert client.simulate_get("/v1/topics", params=params).status_code == 200
    found = comparison(client)
    assert found["mode"] == mode
    assert found["share"] == 1.0
    assert found["workers"] == 1
    assert found["compared"] == 5
    assert found["failures"] == 0
    assert found["differing"] == rate(4, 5)
    # Not soup and creme, which are food to both.
    assert found["differing_best"] == rate(2, 5)
    assert by_code(found) == COMPARED
    known = {label["code"]: label["known_to"] for label in found["labels"]}
    assert known["F1"] == ["stable"]
    assert known["F2"] == ["candidate"]
    assert known["V1"] == ["stable", "candidate"]
    (food,) = (label for label in found["labels"] if label["code"] == "F")
    assert food["name"] == "Food"
    assert food["differing"] == rate(1, 5)
    for role in ("stable", "candidate"):
        assert 0 < found["kernel_microseconds"][role]["mean"] < 1e6


def test_only_whole_answers_by_the_models_own_thresholds_are_compared(saved):
    client = client_of(saved, SHADOW, 1.0)
    for options, number_of_queries in (
        ({"min_score": "0.5"}, 0),
        ({"max_labels": "1"}, 0),
        ({"topics_only": "true", "max_labels": "1"}, 1),
        ({"topics_only": "true"}, 2),
    ):
        client.simulate_get("/v1/topics", params={"q": "soup"} | options)
        assert comparison(client)["compared"] == number_of_queries
    client.simulate_get("/v1/topics", params={"q": "a" * 5000})
    client.simulate_post("/v1/topics:batch", json={"queries": []})
    client.simulate_post("/v1/topics:batch", json={"queries": ["soup"], "min_score": 0.5})
    assert comparison(client)["compared"] == 2


def test_a_shadow_of_a_share(saved):
    client = client_of(saved, SHADOW, 0.3)
    for i in range(100):
        ask(client, "soup", X_Request_Id=str(i))
    chosen = sum(number(str(i)) < 0.3 * 2**32 for i in range(100))
    assert comparison(client)["compared"] == chosen


class Failing:
    def __init__(self, model):
        self.id, self.taxonomy = model.id, model.taxonomy

    def score(self, query):
        raise ValueError(query)

    def score_batch(self, queries):
        raise ValueError(queries)


def test_a_comparison_that_fails_alters_no_answer(saved, caplog):
    client = client_of(saved, SHADOW, 1.0)
    stable = client.app._live.current
    stable.second._compared.comparer._other = Failing(stable.model)
    expected = ask(client_of(saved, SHADOW, 0.0), "honda").content
    for _ in range(3):
        assert ask(client, "honda").content == expected
    client.simulate_post("/v1/topics:batch", json={"queries": ["honda", "soup"]})
    found = comparison(client)
    assert (found["compared"], found["failures"]) == (0, 5)
    assert caplog.text.count("a comparison failed with ValueError") == 1
    assert "honda" not in caplog.text
    assert verdict(found, Limits()).decision is Decision.REJECT


def test_no_second_artifact(saved):
    client = falcon.testing.TestClient(create_app(take_up(saved / "one", None).model))
    found = comparison(client)
    assert (found["candidate"], found["mode"], found["share"]) == (None, None, None)
    assert found["compared"] == 0
    assert found["differing"] == {"count": 0, "share": None, "low": 0.0, "high": 1.0}
    assert verdict(found).decision is Decision.WAIT
    assert client.simulate_head("/v1/comparison").content == b""


def test_metrics(saved, folder):
    client = client_of(saved, CANARY, 1.0, folder)
    for query in QUERIES:
        ask(client, query)
    told = comparison(client)
    registry = CollectorRegistry()
    registry.register(ServiceCollector(folder))
    found = prometheus(generate_latest(registry).decode())
    pair = {"stable": told["stable"], "candidate": told["candidate"]}

    def value(name, **labels):
        return found.get((f"topiccore_{name}", tuple(sorted((labels).items()))))

    assert value("comparing_workers", **pair) == 1
    assert value("compared_queries_total", **pair) == 5
    assert value("differing_queries_total", of="labels", **pair) == 4
    assert value("differing_queries_total", of="best_topic", **pair) == 2
    assert value("comparison_failures_total", **pair) == 0
    for code, numbers in COMPARED.items():
        for by, number_of_queries in zip(("both", "stable", "candidate"), numbers, strict=True):
            labels = {"label": code, "emitted_by": by} | pair
            assert (value("compared_labels_total", **labels) or 0) == number_of_queries
    for role in ("stable", "candidate"):
        name = "comparison_kernel_seconds"
        assert value(f"{name}_count", artifact=role, **pair) == 5
        assert value(f"{name}_bucket", artifact=role, le="+Inf", **pair) == 5
    # Answers of the canary count as its own, but it is not the artifact that workers answer with.
    assert value("queries_total", model=told["candidate"]) == 5
    assert value("queries_total", model=told["stable"]) == 0
    assert value("model_workers", model=told["candidate"]) == 0
    assert value("model_workers", model=told["stable"]) == 1
    route = {"route": "/v1/comparison", "method": "GET", "status": "200"}
    assert value("http_requests_total", **route) == 1


# --- how it comes and goes ----------------------------------------------------------------------


@pytest.fixture
def parts(artifacts, tmp_path, folder):
    """A reloader with a link for each artifact, and a client; no candidate yet."""
    link(artifacts / "one", tmp_path / "stable")
    meter = RequestMeter(folder)
    source = CandidateSource(tmp_path / "canary", CANARY, 1.0, folder, meter)
    live = LiveModel(source.beside(take_up(tmp_path / "stable", folder)))
    reloader = Reloader(
        tmp_path / "stable",
        live,
        watch=True,
        folder=folder,
        control=open_control(folder),
        meter=meter,
        candidate=source,
    )
    return reloader, falcon.testing.TestClient(create_app(live, meter=meter))


def ids(artifacts):
    return {path.name: take_up(path, None).model.id for path in artifacts.iterdir()}


def pair_of(client):
    found = comparison(client)
    return found["stable"], found["candidate"]


def test_set_changed_and_removed(parts, artifacts, tmp_path, caplog):
    reloader, client = parts
    known = ids(artifacts)
    assert pair_of(client) == (known["one"], None)
    link(artifacts / "two", tmp_path / "canary")
    reloader.look()
    assert pair_of(client) == (known["one"], None)
    reloader.look()
    assert pair_of(client) == (known["one"], known["two"])
    assert ask(client, "soup").json["model"] == known["two"]
    link(artifacts / "other", tmp_path / "canary")
    reloader.reload()
    assert pair_of(client) == (known["one"], known["other"])
    assert comparison(client)["compared"] == 0
    (tmp_path / "canary").unlink()
    reloader.look()
    reloader.look()
    assert pair_of(client) == (known["one"], None)
    assert ask(client, "soup").json["model"] == known["one"]


def test_a_file_names_the_candidate(parts, artifacts, tmp_path):
    reloader, client = parts
    (tmp_path / "canary").write_text("artifacts/two\n")
    reloader.reload()
    assert pair_of(client)[1] == ids(artifacts)["two"]


def test_a_broken_candidate_is_refused(parts, artifacts, tmp_path, caplog):
    reloader, client = parts
    known = ids(artifacts)
    (artifacts / "other" / "bias.npy").write_bytes(b"nothing")
    link(artifacts / "other", tmp_path / "canary")
    for _ in range(4):
        reloader.look()
    assert pair_of(client) == (known["one"], None)
    assert caplog.text.count("canary refused, no candidate stays") == 1
    link(artifacts / "two", tmp_path / "canary")
    reloader.reload()
    link(artifacts / "other", tmp_path / "canary")
    reloader.reload()
    assert pair_of(client) == (known["one"], known["two"])
    link(artifacts / "gone", tmp_path / "canary")
    reloader.reload()
    assert pair_of(client) == (known["one"], known["two"])


def test_promotion_loses_no_count(parts, artifacts, tmp_path, folder):
    """The canary becomes the stable artifact, and another one the canary."""
    reloader, client = parts
    known = ids(artifacts)
    link(artifacts / "two", tmp_path / "canary")
    reloader.reload()
    for _ in range(3):
        ask(client, "soup")
    link(artifacts / "two", tmp_path / "stable")
    reloader.reload()
    assert pair_of(client) == (known["two"], None)
    ask(client, "soup")

    def queries():
        return sum(
            int(counted.values[0])
            for counted in read_all(folder, "answers")
            if counted.about["artifact"] == known["two"]
        )

    assert queries() == 4
    reloader._retire(float("inf"))
    assert queries() == 4
    link(artifacts / "other", tmp_path / "canary")
    reloader.reload()
    reloader._retire(float("inf"))
    assert pair_of(client) == (known["two"], known["other"])
    assert queries() == 4
    assert len(list(read_all(folder, "comparison"))) == 1


def test_both_change_at_once(parts, artifacts, tmp_path):
    reloader, client = parts
    known = ids(artifacts)
    link(artifacts / "two", tmp_path / "stable")
    link(artifacts / "other", tmp_path / "canary")
    reloader.look()
    reloader.look()
    assert pair_of(client) == (known["two"], known["other"])


def test_a_new_stable_artifact_begins_a_new_comparison(parts, artifacts, tmp_path):
    reloader, client = parts
    known = ids(artifacts)
    link(artifacts / "other", tmp_path / "canary")
    reloader.reload()
    ask(client, "soup")
    assert comparison(client)["compared"] == 1
    link(artifacts / "two", tmp_path / "stable")
    reloader.reload()
    assert pair_of(client) == (known["two"], known["other"])
    assert comparison(client)["compared"] == 0
    # Unchanged: it goes on.
    ask(client, "soup")
    reloader.reload()
    assert comparison(client)["compared"] == 1


# --- settings -----------------------------------------------------------------------------------


def test_settings(saved):
    names = {"TOPICCORE_SHADOW": str(saved / "two"), "TOPICCORE_SHADOW_SHARE": "0.5"}
    settings = Settings.from_environment(names)
    assert (settings.shadow, settings.shadow_share) == (saved / "two", 0.5)
    assert candidate_source(settings, None, None) is not None
    assert candidate_source(Settings(), None, None) is None
    with pytest.raises(SettingsError, match="both set"):
        Settings(canary=saved, shadow=saved)
    with pytest.raises(SettingsError, match="CANARY_SHARE is '5', not a number from 0 to 1"):
        Settings.from_environment({"TOPICCORE_CANARY_SHARE": "5"})


# --- what may be promoted -----------------------------------------------------------------------


@given(of=st.integers(1, 10**6), share=st.floats(0, 1))
def test_wilson(of, share):
    count = round(of * share)
    expected = binomtest(count, of).proportion_ci(method="wilson")
    assert wilson(count, of) == pytest.approx((expected.low, expected.high), abs=1e-9)


def told(compared=10_000, differing=100, best=20, failures=0):
    return {
        "stable": "a" * 64,
        "candidate": "b" * 64,
        "compared": compared,
        "failures": failures,
        "differing": rate(differing, compared),
        "differing_best": rate(best, compared),
    }


@pytest.mark.parametrize(
    ("content", "limits", "decision"),
    [
        (told(), Limits(), Decision.PROMOTE),
        (told(999, 0), Limits(), Decision.WAIT),
        (told(1000, 0), Limits(), Decision.PROMOTE),
        (told(1000, 45), Limits(), Decision.WAIT),
        (told(1000, 60), Limits(), Decision.WAIT),
        (told(1000, 80), Limits(), Decision.REJECT),
        (told(100, 60), Limits(), Decision.REJECT),
        (told(0, 0, 0), Limits(), Decision.WAIT),
        (told(differing=9000), Limits(max_differing=None), Decision.PROMOTE),
        (told(), Limits(max_differing_best=0.001), Decision.REJECT),
        (told(), Limits(max_differing_best=0.01), Decision.PROMOTE),
        (told(failures=1), Limits(), Decision.REJECT),
        (told() | {"candidate": None}, Limits(), Decision.WAIT),
    ],
)
def test_verdict(content, limits, decision):
    found = verdict(json.loads(json.dumps(content)), limits)
    assert found.decision is decision
    assert found.reasons or limits.max_differing is None


def test_verdict_on_another_artifact():
    assert verdict(told(), candidate="b" * 64, stable="a" * 64).decision is Decision.PROMOTE
    found = verdict(told(), candidate="c" * 64)
    assert found.decision is Decision.REJECT
    assert found.reasons == ("the candidate is bbbbbbbbbbbb, not cccccccccccc",)
    assert verdict(told(), stable="c" * 64).decision is Decision.REJECT
    assert verdict(told() | {"candidate": None}, candidate="c" * 64).decision is Decision.REJECT


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"compared": "10"}, "compared"),
        ({"compared": -1}, "compared"),
        ({"compared": True}, "compared"),
        ({"stable": 5}, "stable"),
        ({"differing": 5}, "differing"),
        ({"differing": {}}, "differing.count"),
        ({"differing": {"count": 10_001}}, "differing.count"),
        ({"failures": None}, "failures"),
    ],
)
def test_verdict_on_what_is_no_comparison(change, field):
    with pytest.raises(ComparisonError, match=field):
        verdict(told() | change)
    with pytest.raises(ComparisonError, match="candidate"):
        verdict({})


# --- a real server ------------------------------------------------------------------------------


def test_a_served_canary(artifacts, tmp_path):
    """Two workers under load: set, scored by both, changed, one worker killed, removed."""
    known = ids(artifacts)
    canary, port = tmp_path / "canary", free_port()
    options = ["--canary", str(canary), "--canary-share", "0.5", "--metrics-port", str(port)]

    def told():
        return json.loads(server.ask("/v1/comparison")[2])

    def scraped():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as response:
            return prometheus(response.read().decode())

    with running_server(artifacts / "one", tmp_path, *options) as server:
        assert told()["candidate"] is None
        with Askers(server) as askers:
            link(artifacts / "other", canary)
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda: told()["workers"] == 2 and told()["compared"] > 200)
        assert askers.failures == []
        assert {header for header, body in askers.answers} == {known["one"], known["other"]}
        assert all(header == body for header, body in askers.answers)
        found = told()
        assert (found["stable"], found["candidate"]) == (known["one"], known["other"])
        # Every answer of the canary was compared, and every worker tells of all.
        by_canary = sum(header == known["other"] for header, _ in askers.answers)
        assert found["compared"] == by_canary == found["differing"]["count"]
        assert by_code(found)["V1"] == (by_canary, 0, 0)
        assert by_code(found)["F2"] == (0, 0, by_canary)
        pair = (("candidate", known["other"]), ("stable", known["one"]))
        assert scraped()[("topiccore_compared_queries_total", pair)] == by_canary
        # What a killed worker has counted stays.
        os.kill(children(server)[0], signal.SIGKILL)
        # Asked before, the killed one might get the connection.
        wait_for(lambda: server.log.count("Started worker-") == 3)
        wait_for(lambda: told()["workers"] == 2)
        assert told()["compared"] == by_canary
        assert scraped()[("topiccore_compared_queries_total", pair)] == by_canary
        # A broken one is refused.
        (artifacts / "two" / "bias.npy").write_bytes(b"nothing")
        link(artifacts / "two", canary)
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: server.log.count("canary refused") == 2)
        assert told()["candidate"] == known["other"]
        canary.unlink()
        server.process.send_signal(signal.SIGHUP)
        wait_for(lambda: server.log.count("canary removed") == 2)
        wait_for(lambda: told()["candidate"] is None)
        result = [("result", "removed")]
        assert scraped()[("topiccore_candidate_reloads_total", tuple(result))] == 2
