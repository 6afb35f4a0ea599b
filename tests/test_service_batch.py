"""``POST /v1/topics:batch``: results in order, limits, errors that name the query."""

from __future__ import annotations

import json

import falcon.testing
import pytest
from hypothesis import given
from hypothesis import strategies as st
from service_support import answer, check_problem, save_tiny_artifact

from service.app import create_app
from service.settings import Settings
from topiccore import load

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("service") / "tiny"
    save_tiny_artifact(path)
    return load(path)


@pytest.fixture(scope="module")
def client(model):
    return falcon.testing.TestClient(create_app(model))


def batch(client, body):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.simulate_post(
        "/v1/topics:batch", body=data, headers={"Content-Type": "application/json"}
    )


def results(model, queries, **options):
    """What the service has to answer, from one query after the other."""
    answers = [answer(model, query, **options) for query in queries]
    return {
        "results": [{"topics": x["topics"], "truncated": x["truncated"]} for x in answers],
        "model": model.id,
    }


def test_results_in_order(client, model):
    queries = ["honda", "", "soup", "nothing known", "honda", "a:b custard", "a " * 300]
    result = batch(client, {"queries": queries})
    assert result.status_code == 200
    assert result.headers["content-type"] == "application/json"
    assert result.json == results(model, queries)
    assert [one["truncated"] for one in result.json["results"]] == [False] * 6 + [True]


@given(queries=st.lists(TEXT, max_size=8))
def test_any_texts_are_answered_as_one_by_one(client, model, queries):
    assert batch(client, {"queries": queries}).json == results(model, queries)


def test_options(client, model):
    queries = ["honda soup", "truck"]
    body = {"queries": queries, "min_score": 0.5, "max_labels": 2}
    assert batch(client, body).json == results(model, queries, min_score=0.5, max_labels=2)
    body = {"queries": queries, "topics_only": True, "max_labels": 1}
    found = batch(client, body).json["results"]
    assert [[topic["code"] for topic in one["topics"]] for one in found] == [["V"], ["V"]]


def test_explanations(client):
    found = batch(client, {"queries": ["honda", "none"], "explain": True}).json["results"]
    assert found[0]["topics"][0]["explanation"]["bias"] == -4
    assert found[0]["topics"][1]["explanation"]["shares"] == [{"text": "honda", "share": 8.0}]
    assert found[1] == {"topics": [], "truncated": False}
    check_problem(batch(client, {"queries": ["a"] * 11, "explain": True}), 400, "explain", "10")


def test_limits(model):
    settings = Settings(max_batch_queries=3, max_query_bytes=5, max_batch_bytes=100)
    client = falcon.testing.TestClient(create_app(model, settings))
    assert batch(client, {"queries": ["honda"] * 3}).status_code == 200
    check_problem(batch(client, {"queries": ["a"] * 4}), 413, "queries", "3 queries")
    check_problem(batch(client, {"queries": ["a", "b", "hondas"]}), 413, "queries[2]", "5 bytes")
    check_problem(batch(client, b'{"queries":[]}'.ljust(101)), 413, None, "100 bytes")


@pytest.mark.parametrize(
    ("body", "field", "detail"),
    [
        ({}, "queries", "missing"),
        ({"query": "a"}, "query", "queries"),
        ({"queries": "honda"}, "queries", "not an array"),
        ({"queries": None}, "queries", "not an array"),
        ({"queries": {"a": "b"}}, "queries", "not an array"),
        ({"queries": ["a", 5]}, "queries[1]", "not a string"),
        ({"queries": ["a", "b", None]}, "queries[2]", "not a string"),
        ({"queries": ["\ud800"]}, "queries[0]", "surrogate"),
        ({"queries": [], "min_score": 2}, "min_score", "between"),
        ({"queries": [], "max_labels": -1}, "max_labels", "below 0"),
        ({"queries": [], "max_labels": "1"}, "max_labels", "integer"),
        ({"queries": [], "x": 1}, "x", "explain, max_labels, min_score, queries, topics_only"),
        ([], None, "not a JSON object"),
        (b'{"queries":["a"],"queries":["b"]}', "queries", "twice"),
        (b'{"queries":["a"]', None, "not JSON"),
        (b"", None, "empty"),
    ],
)
def test_errors(client, body, field, detail):
    check_problem(batch(client, body), 400, field, detail)
