"""Logs as JSON: what is told of answers and what never is; traces."""

from __future__ import annotations

import json
import logging
import queue
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import falcon.testing
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from service_support import DEADLINE, call, post, save_tiny_artifact, wait_for

from service import logs, traces
from service.app import create_app
from service.logs import AccessLog, BackgroundHandler, JsonFormatter, TextFormatter
from topiccore import TopiccoreError, load

SECRET = "zebrafish"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("service") / "tiny"
    save_tiny_artifact(path)
    return load(path)


def lines(caplog):
    return [json.loads(JsonFormatter().format(record)) for record in caplog.records]


def ask(client):
    client.simulate_get("/v1/topics", params={"q": SECRET}, headers={"traceparent": TRACE})
    client.simulate_get(f"/{SECRET}")
    post(client, {"query": SECRET})
    client.simulate_post("/v1/topics:batch", json={"queries": [SECRET, SECRET]})


def test_answers_as_json(model, caplog):
    client = falcon.testing.TestClient(create_app(model, log=AccessLog(1.0, False)))
    with caplog.at_level(logging.INFO):
        ask(client)
    one, two, three, four = lines(caplog)
    assert one["message"] == "answered"
    assert one["level"] == "info"
    assert (one["method"], one["route"], one["status"]) == ("GET", "/v1/topics", 200)
    assert one["trace_id"] == one["request_id"] == TRACE[3:35]
    assert one["model"] == model.id
    assert 0 < one["kernel_milliseconds"] <= one["milliseconds"]
    assert (two["route"], two["status"]) == ("other", 404)
    assert "kernel_milliseconds" not in two
    assert three["method"] == "POST"
    assert four["queries"] == 2
    assert SECRET not in json.dumps([one, two, three, four])


def test_queries_are_logged_when_asked_for(model, caplog):
    client = falcon.testing.TestClient(create_app(model, log=AccessLog(1.0, True)))
    with caplog.at_level(logging.INFO):
        client.simulate_get("/v1/topics", query_string="q=cr%C3%A8me+x")
        post(client, {"query": 'a"\n\ud83d\ude97'})
    assert [line["query"] for line in lines(caplog)] == ["crème x", 'a"\n\U0001f697']


def test_sampling(model, caplog):
    client = falcon.testing.TestClient(create_app(model, log=AccessLog(0.0, True)))
    with caplog.at_level(logging.INFO):
        ask(client)
    assert caplog.records == []
    client = falcon.testing.TestClient(create_app(model, log=AccessLog(0.5, False)))
    with caplog.at_level(logging.INFO):
        for _ in range(200):
            client.simulate_get("/healthz")
    assert 50 < len(caplog.records) < 150


def test_failures_are_always_logged(model, caplog):
    class Failing:
        def __getattr__(self, name):
            return getattr(model, name)

        def json_writer(self, *_):
            return self

        def write(self, query, tally):
            raise RuntimeError(query)

    client = falcon.testing.TestClient(create_app(Failing(), log=AccessLog(0.0, False)))
    with caplog.at_level(logging.INFO):
        client.simulate_get("/v1/topics", params={"q": SECRET}, headers={"X-Request-Id": "it"})
    assert [line["level"] for line in lines(caplog)] == ["error", "error"]
    assert lines(caplog)[1]["request_id"] == "it"
    assert "request it" in lines(caplog)[0]["message"]
    assert SECRET not in caplog.text


def record(text, **more):
    made = logging.LogRecord("service.x", logging.INFO, "", 0, text, (), None)
    made.__dict__.update(more)
    return made


def test_formats():
    made = record("it\n'is'", fields={"status": 200, "query": "é\n"})
    line = JsonFormatter().format(made)
    assert "\n" not in line
    assert line.isascii()
    assert json.loads(line)["query"] == "é\n"
    assert TextFormatter().format(record("it is", fields={"a": 1})) == "[INFO] it is a=1"
    assert TextFormatter().format(record("it is")) == "[INFO] it is"


def test_lines_that_nobody_writes_are_left_out_and_counted(monkeypatch):
    monkeypatch.setattr(logs, "WAITING", 3)
    let_go = threading.Event()
    written = []

    class Stuck:
        def write(self, text):
            assert let_go.wait(60)
            written.append(json.loads(text))

    handler = BackgroundHandler()
    handler.stream = Stuck()
    handler.setFormatter(JsonFormatter())
    handler.emit(record("first"))
    wait_for(lambda: handler._queue.empty())
    for number in range(10):
        handler.emit(record(str(number)))
    let_go.set()
    handler.flush()
    wait_for(lambda: len(written) == 4)
    handler.emit(record("later"))
    handler.emit(record("then"))
    wait_for(lambda: len(written) == 6)
    assert [line["message"] for line in written] == ["first", "0", "1", "2", "later", "then"]
    assert [line.get("left_out_before") for line in written] == [None] * 4 + [7, None]


def test_lines_that_cannot_be_written_are_lost_and_nothing_else():
    class Full:
        def write(self, text):
            raise OSError(28, "No space left on device")

    handler = BackgroundHandler()
    handler.stream = Full()
    for _ in range(3):
        handler.emit(record("lost"))
        handler.flush()
    assert handler._queue.unfinished_tasks == 0


def test_what_the_client_is_at_fault_for_is_no_failure(model, caplog):
    environ = {"REQUEST_METHOD": "POST", "HTTP_TRANSFER_ENCODING": "gzip, chunked"}
    for share, levels in ((0.0, []), (1.0, ["info"])):
        client = falcon.testing.TestClient(create_app(model, log=AccessLog(share, False)))
        with caplog.at_level(logging.INFO):
            assert call(client, environ | {"CONTENT_TYPE": "application/json"}).status_code == 501
        assert [line["level"] for line in lines(caplog)] == levels


# --- traces -------------------------------------------------------------------------------------


def test_traces_are_only_for_those_who_name_a_place():
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    assert not traces.wanted({})
    assert traces.wanted(endpoint)
    assert not traces.wanted(endpoint | {"OTEL_SDK_DISABLED": "true"})


def test_traces_that_are_not_installed(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(TopiccoreError, match=r"topiccore\[otel\]"):
        traces.exporting(create_app(model))


def test_spans(model):
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    client = falcon.testing.TestClient(traces.traced(create_app(model), provider))
    ask(client)
    one, two, three, _ = exporter.get_finished_spans()
    assert one.name == "GET /v1/topics"
    assert one.attributes["http.response.status_code"] == 200
    assert one.attributes["topiccore.model"] == model.id
    assert one.attributes["topiccore.kernel_ns"] > 0
    assert f"{one.context.trace_id:032x}" == TRACE[3:35]
    assert f"{one.parent.span_id:016x}" == TRACE[36:52]
    assert two.name == "GET other"
    assert two.attributes["http.response.status_code"] == 404
    assert three.parent is None
    assert SECRET not in "".join(span.to_json() for span in exporter.get_finished_spans())


def test_spans_reach_the_place_that_is_named(model, monkeypatch):
    received = queue.Queue()

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            received.put((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        threading.Thread(target=collector.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{collector.server_port}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        ask(falcon.testing.TestClient(traces.exporting(create_app(model))))
        sent = b""
        while sent.count(b"topiccore.request_id") < 4:
            path, body = received.get(timeout=DEADLINE)
            assert path == "/v1/traces"
            sent += body
        collector.shutdown()
    for text in (b"topiccore", b"GET /v1/topics", b"GET other", model.id.encode()):
        assert text in sent
    assert SECRET.encode() not in sent
