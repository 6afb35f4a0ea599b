"""Counters in shared memory, their sums over processes, what Prometheus sees, drift."""

from __future__ import annotations

import math
import multiprocessing
import threading
from collections import Counter

import falcon.testing
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from service_support import post, save_tiny_artifact

from service import drift
from service.answer_counts import AnswerCounts
from service.app import create_app
from service.counters import CounterFile, read_all
from service.ledger import Ledger, Totals
from service.live import LiveModel, prepare
from service.metrics import ServiceCollector
from service.request_meter import RequestMeter
from service.settings import Settings
from service.tokens import Tokens
from topiccore import load

EXPECTED = {
    "coverage": 0.75,
    "unknown_tokens": 0.25,
    "labels": {"V": 0.5, "V1": 0.5, "F": 0.25, "F1": 0.0},
}


@pytest.fixture
def model(tmp_path):
    save_tiny_artifact(tmp_path / "tiny", training={"expected": EXPECTED})
    return load(tmp_path / "tiny")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "counters"
    folder.mkdir()
    return folder


@pytest.fixture
def client(model, folder):
    counts = AnswerCounts(folder, model)
    counts.set_live(True)
    live = LiveModel(prepare(model, counts))
    return falcon.testing.TestClient(create_app(live, meter=RequestMeter(folder)))


def samples(collector):
    """Every sample that Prometheus would see: ``name{label=value}`` -> number."""
    registry = CollectorRegistry()
    registry.register(collector)
    text = generate_latest(registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found, name, **labels):
    return found[(name, tuple(sorted(labels.items())))]


# --- counters -----------------------------------------------------------------------------------


def test_counter_file(folder):
    file = CounterFile(folder, "kind", [("a", ()), ("b", ("x", "y"))], more=[1])
    file.values[1] += 7
    file.values[1] += 2**40
    (counted,) = read_all(folder)
    assert counted.about == {"kind": "kind", "more": [1]}
    assert counted.series == [("a", ()), ("b", ("x", "y"))]
    assert counted.values.tolist() == [0, 7 + 2**40]
    assert counted.alive
    file.remove()
    assert list(read_all(folder)) == []
    file.values[0] += 1


def count_and_end(folder, number):
    meter = RequestMeter(folder)
    for _ in range(number):
        meter.request("/v1/topics", "GET", "200", 20_000, 2_000)
    return meter


def test_counts_of_ended_processes_stay(folder):
    context = multiprocessing.get_context("spawn")
    for number in (3, 4):
        process = context.Process(target=count_and_end, args=(folder, number))
        process.start()
        process.join(60)
        assert process.exitcode == 0
    alive = count_and_end(folder, 5)
    ledger = Ledger(folder, keep=True)
    series = ("topiccore_http_requests_total", ("/v1/topics", "GET", "200"))
    for _ in range(3):
        totals = ledger.read()
        assert totals.counts[series] == 12
        assert totals.counts[("topiccore_kernel_seconds", ("5e-06",))] == 12
        assert ledger.lost == 2
    assert sum(not counted.alive for counted in read_all(folder)) == 0
    assert Ledger(folder).read().counts[series] == 5
    assert alive is not None


def test_threads_lose_no_count(folder):
    meter = RequestMeter(folder)

    def count():
        for _ in range(5000):
            meter.request("/v1/model", "GET", "200", 1000, None)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    totals = Ledger(folder).read()
    series = ("topiccore_http_requests_total", ("/v1/model", "GET", "200"))
    assert totals.counts[series] == 20_000
    assert totals.counts[("topiccore_http_request_seconds", ("/v1/model", "sum"))] == 20_000_000


# --- requests -----------------------------------------------------------------------------------


def test_requests(client, folder):
    for _ in range(3):
        client.simulate_get("/v1/topics", params={"q": "honda"})
    client.simulate_get("/v1/topics")
    post(client, {"query": "soup"})
    client.simulate_get("/what/a/person/searched/for")
    client.simulate_get("/healthz")
    client.simulate_request("DELETE", "/v1/model")
    found = samples(ServiceCollector(folder))
    name = "topiccore_http_requests_total"
    assert value(found, name, route="/v1/topics", method="GET", status="200") == 3
    assert value(found, name, route="/v1/topics", method="GET", status="400") == 1
    assert value(found, name, route="/v1/topics", method="POST", status="200") == 1
    assert value(found, name, route="other", method="GET", status="404") == 1
    assert value(found, name, route="/v1/model", method="other", status="405") == 1
    assert sum(n for (key, _), n in found.items() if key == name) == 8
    seconds = "topiccore_http_request_seconds"
    assert value(found, f"{seconds}_count", route="/v1/topics") == 5
    assert value(found, f"{seconds}_bucket", route="/v1/topics", le="+Inf") == 5
    assert 0 < value(found, f"{seconds}_sum", route="/v1/topics") < 60
    assert value(found, "topiccore_kernel_seconds_count") == 4
    assert value(found, "topiccore_workers") == 1
    assert not [key for key, _ in found if "searched" in key]


@given(nanoseconds=st.integers(0, 10**12))
def test_buckets(nanoseconds, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    meter = RequestMeter(folder)
    meter.request("/v1/topics", "GET", "200", nanoseconds, None)
    found = samples(ServiceCollector(folder))
    for (name, labels), number in found.items():
        if name == "topiccore_http_request_seconds_bucket":
            bound = float(dict(labels)["le"])
            assert number == (nanoseconds <= bound * 1e9 * (1 + 1e-12))


def test_rejected_requests(model, folder, tmp_path):
    (tmp_path / "tokens").write_text("a" * 16)
    app = create_app(
        model,
        Settings(max_in_flight=1),
        meter=RequestMeter(folder),
        tokens=Tokens(tmp_path / "tokens"),
    )
    client = falcon.testing.TestClient(app)
    client.simulate_get("/v1/model")
    app._slots.take()
    client.simulate_get("/v1/model", headers={"Authorization": "Bearer " + "a" * 16})
    found = samples(ServiceCollector(folder))
    assert value(found, "topiccore_rejected_requests_total", reason="token") == 1
    assert value(found, "topiccore_rejected_requests_total", reason="overload") == 1
    assert value(found, "topiccore_rejected_requests_total", reason="bodies") == 0


# --- answers ------------------------------------------------------------------------------------


def test_answers(client, folder, model):
    for query in ("honda", "soup honda", "nothing", "a " * 300):
        client.simulate_get("/v1/topics", params={"q": query})
    client.simulate_get("/v1/topics", params={"q": "soup", "topics_only": "1", "max_labels": "1"})
    # These tell what clients asked for, not what the model says.
    client.simulate_get("/v1/topics", params={"q": "honda", "min_score": "0"})
    client.simulate_get("/v1/topics", params={"q": "honda", "max_labels": "1"})
    client.simulate_post("/v1/topics:batch", json={"queries": ["truck", "none"]})
    found = samples(ServiceCollector(folder))

    def of(name, **labels):
        return value(found, f"topiccore_{name}", model=model.id, **labels)

    assert of("queries_total") == 8
    assert of("covered_queries_total") == 5
    assert of("truncated_queries_total") == 1
    labels = {code: of("emitted_labels_total", label=code) for code in ("V", "V1", "F", "F1")}
    assert labels == {"V": 3, "V1": 2, "F": 2, "F1": 0}
    assert of("tokens_total") == 1 + 2 + 1 + 256 + 1 + 1 + 1 + 1
    assert of("unknown_tokens_total") == 1 + 256 + 1
    assert of("model_workers") == 1
    assert value(found, "topiccore_window_queries") == 8
    assert value(found, "topiccore_coverage_ratio") == 5 / 8
    assert value(found, "topiccore_expected_coverage_ratio") == 0.75
    assert value(found, "topiccore_label_share_ratio", label="V") == 3 / 8
    assert value(found, "topiccore_expected_label_share_ratio", label="V") == 0.5
    assert not [key for key in found if "distance" in key[0]]


def test_drift_of_a_running_model(client, folder):
    collector = ServiceCollector(folder)
    samples(collector)
    queries = ["honda"] * 2500 + ["what"] * 2500
    for first in range(0, len(queries), 1000):
        client.simulate_post("/v1/topics:batch", json={"queries": queries[first : first + 1000]})
    found = samples(collector)
    assert value(found, "topiccore_drift_distance", of="coverage") == 0.25
    assert value(found, "topiccore_unknown_tokens_ratio") == 0.5
    assert value(found, "topiccore_drift_distance", of="unknown_tokens") == 0.25
    live, wanted = {"V": 0.5, "V1": 0.5}, EXPECTED["labels"]
    labels = value(found, "topiccore_drift_distance", of="labels")
    assert labels == pytest.approx(drift.distance(live, wanted, 5000))
    assert 0.1 < labels < 0.5


# --- drift --------------------------------------------------------------------------------------

SHARES = st.dictionaries(st.sampled_from("ABCDEF"), st.floats(0.001, 1), min_size=1)


@given(one=SHARES, two=SHARES)
def test_distance(one, two):
    found = drift.distance(one, two)
    assert 0 <= found <= 1 + 1e-9
    assert found == pytest.approx(drift.distance(two, one), abs=1e-9)
    assert drift.distance(one, one) == pytest.approx(0, abs=1e-7)
    assert found == pytest.approx(drift.distance({k: 3 * x for k, x in one.items()}, two), abs=1e-7)


def test_distance_of_known_distributions():
    assert drift.distance({"a": 1.0}, {"b": 2.0}) == pytest.approx(1)
    expected = math.sqrt(0.5 * math.log2(4 / 3) + 0.25 * math.log2(2 / 3) + 0.25 * 1)
    assert drift.distance({"a": 1.0}, {"a": 1.0, "b": 1.0}) == pytest.approx(expected)
    assert drift.distance({}, {"a": 1.0}) is None
    assert drift.distance({"a": 0.0}, {"a": 1.0}) is None


def test_distance_without_what_chance_adds():
    """Draws from the expected distribution itself lie at 0, but for the spread of chance."""
    random = np.random.default_rng(5)
    expected = dict(enumerate(random.dirichlet(np.ones(300))))
    drawn = Counter(random.choice(300, 5000, p=list(expected.values())).tolist())
    assert drift.distance(drawn, expected) > 0.08
    assert drift.distance(drawn, expected, 5000) < 0.04


def test_window():
    now = [0.0]
    window = drift.Window(lambda: now[0])
    series = ("topiccore_queries_total", ("m",))
    live = ("topiccore_model_workers", ("m",))

    def recent(total, seconds, model="m"):
        now[0] = seconds
        totals = Totals(Counter({series: total, live: 1}), 1, {model: None})
        return window.recent(totals)[series]

    assert recent(10, 0) == 10
    assert recent(110, 60) == 110
    for minute in range(2, 60):
        recent(110, 60 * minute)
    assert recent(200, 3600) == 200 - 0
    assert recent(200, 3660) == 200 - 110
    assert recent(200, 3660 + 3600) == 0
    assert recent(5, 9000, "other") == 0
