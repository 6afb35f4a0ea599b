"""``GET /v1/model``, ``/healthz`` and ``/readyz``."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import falcon.testing
import numpy as np
import pytest
from service_support import LABELS, save_tiny_artifact, steady_headers

import topiccore
from service.app import create_app
from topiccore import Taxonomy, load
from topiccore.reference import SCHEME


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("service") / "tiny"
    save_tiny_artifact(path)
    return load(path)


@pytest.fixture(scope="module")
def client(model):
    return falcon.testing.TestClient(create_app(model))


def test_model(client, model):
    result = client.simulate_get("/v1/model")
    assert result.status_code == 200
    assert result.headers["content-type"] == "application/json"
    assert result.json == {
        "id": model.id,
        "labels": 4,
        "topics": 2,
        "format_version": 4,
        "scheme": SCHEME,
        "encoding": "float32",
        "training": {"precision": 0.9, "coverage": None},
        "data": {"collection": "hand-made"},
        "topiccore_version": topiccore.__version__,
    }


def test_figures_that_json_does_not_have_are_null():
    training = {"a": math.nan, "b": [math.inf, {"c": -math.inf}], "d": "NaN", "e": 0.5, "é": None}
    model = SimpleNamespace(
        id="0" * 64,
        taxonomy=Taxonomy(LABELS),
        json_writer=lambda *_: None,
        training=training,
        artifact=SimpleNamespace(
            data={},
            encoding="float32",
            thresholds=np.full(4, np.inf),
            slopes=np.ones(4),
            intercepts=np.zeros(4),
        ),
    )
    result = falcon.testing.TestClient(create_app(model)).simulate_get("/v1/model")
    found = json.loads(result.content, parse_constant=pytest.fail)["training"]
    assert found == {"a": None, "b": [None, {"c": None}], "d": "NaN", "e": 0.5, "é": None}


def test_taxonomy(client, model):
    result = client.simulate_get("/v1/taxonomy")
    assert result.headers["content-type"] == "application/json"
    assert result.json == {
        "topics": [
            {
                "code": "V",
                "name": "Vehicles",
                "scope": "",
                "threshold": 0.5,
                "subtopics": [{"code": "V1", "name": "Cars", "scope": "", "threshold": 0.5}],
            },
            {
                "code": "F",
                "name": "Food",
                "scope": "",
                "threshold": 0.5,
                "subtopics": [
                    {"code": "F1", "name": "Crème brûlée", "scope": "", "threshold": 0.5}
                ],
            },
        ],
        "model": model.id,
    }


@pytest.mark.parametrize(("path", "status"), [("/healthz", "ok"), ("/readyz", "ready")])
def test_health(client, path, status):
    result = client.simulate_get(path)
    assert result.status_code == 200
    assert result.headers["content-type"] == "application/json"
    assert result.headers["cache-control"] == "no-store"
    assert result.json == {"status": status}


@pytest.mark.parametrize("path", ["/v1/model", "/healthz", "/readyz"])
def test_head_is_get_without_the_body(client, path):
    head, full = client.simulate_head(path), client.simulate_get(path)
    assert head.content == b""
    assert head.status == full.status
    assert steady_headers(head) == steady_headers(full)


@pytest.mark.parametrize("path", ["/v1/model", "/healthz", "/readyz"])
def test_parameters_that_mean_nothing_here(client, path):
    assert client.simulate_get(path, query_string="x=%zz&x=1").status_code == 200
