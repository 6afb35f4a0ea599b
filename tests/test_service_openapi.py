"""``/openapi.json`` holds for the service: schemathesis asks it what the description allows."""

from __future__ import annotations

import falcon.testing
import pytest
from hypothesis import HealthCheck, given, settings
from service_support import save_tiny_artifact

from service.app import create_app
from topiccore import load

schemathesis = pytest.importorskip("schemathesis")

OPERATIONS = [
    *("GET /v1/topics", "POST /v1/topics", "POST /v1/topics:batch", "GET /v1/model"),
    *("GET /v1/taxonomy", "GET /v1/stats", "GET /v1/comparison", "GET /healthz", "GET /readyz"),
]


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    path = tmp_path_factory.mktemp("service") / "tiny"
    save_tiny_artifact(path)
    return create_app(load(path))


@pytest.fixture(scope="module")
def operations(app):
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app)
    found = [result.ok() for result in schema.get_all_operations()]
    return {operation.label: operation for operation in found}


def test_every_route_is_described(app, operations):
    document = falcon.testing.TestClient(app).simulate_get("/openapi.json").json
    assert document["openapi"].startswith("3.1.")
    assert len(document["paths"]) == len(OPERATIONS)
    assert sorted(operations) == sorted(OPERATIONS)


@pytest.mark.parametrize("label", OPERATIONS)
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
def test_the_service_is_as_described(operations, label, mode):
    """What the description allows is answered as it says; what it forbids is refused."""
    if mode.is_negative and label not in OPERATIONS[:3]:
        pytest.skip("nothing can be wrong with a request that has no parameters")

    @given(case=operations[label].as_strategy(generation_mode=mode))
    @settings(
        max_examples=20,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def check(case):
        case.call_and_validate()

    check()
