"""The client against a running service, and against servers that fail in every way."""

from __future__ import annotations

import contextlib
import select
import socket
import threading

import pytest
from service_support import free_port, running_server, save_tiny_artifact

from topiccore import TopiccoreError, load

pytest.importorskip("urllib3")

from topiccore.client import Client, ServiceError, Topic, UnavailableError
from topiccore.client_deadline import HTTPConnection

OK = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 44\r\n\r\n"
    b'{"topics":[],"truncated":false,"model":"it"}'
)
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: 0\r\n\r\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("service") / "tiny"
    save_tiny_artifact(path)
    return load(path)


@pytest.fixture(scope="module")
def server(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    tokens = folder / "tokens"
    tokens.write_text("t" * 20)
    options = ("--tokens", str(tokens), "--max-batch-queries", "3")
    with running_server(model.artifact.path, folder, *options, workers=1) as server:
        yield server


@pytest.fixture
def client(server):
    with Client(f"http://127.0.0.1:{server.port}/", token="t" * 20, timeout=30) as client:
        yield client


# --- a service ----------------------------------------------------------------------------------


def test_topics(client, model):
    found = client.topics("honda crème", request_id="mine")
    assert [(x.code, x.name) for x in found.topics] == [
        (x.code, x.name) for x in model.score("honda crème")
    ]
    assert isinstance(found.topics[0], Topic)
    assert (found.truncated, found.model, found.request_id) == (False, model.id, "mine")


def test_options(client):
    found = client.topics("honda soup", topics_only=True, max_labels=1, min_score=0.5, explain=True)
    assert [one.code for one in found.topics] == ["V"]
    assert found.topics[0].explanation["threshold"] == 0


def test_batch(client):
    found = client.topics_batch(["honda", "", "soup"])
    assert [[x.code for x in one.topics] for one in found] == [["V", "V1"], [], ["F"]]
    assert client.topics_batch([]) == []
    with pytest.raises(TypeError, match="one query"):
        client.topics_batch("honda")


def test_model_and_taxonomy(client, model):
    assert client.model()["id"] == model.id
    assert [topic["code"] for topic in client.taxonomy()["topics"]] == ["V", "F"]
    assert client.ready()


def test_problems(client, server):
    with pytest.raises(ServiceError, match=r"413.*queries") as info:
        client.topics_batch(["a"] * 4)
    assert (info.value.status, info.value.field) == (413, "queries")
    assert info.value.request_id
    with (
        Client(f"http://127.0.0.1:{server.port}", retries=0) as stranger,
        pytest.raises(ServiceError, match=r"401.*bearer token"),
    ):
        stranger.topics("honda")
    assert issubclass(ServiceError, TopiccoreError)


def test_threads_share_a_client(client):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(client.topics("honda").topics[0].code))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == ["V"] * 20


# --- servers that fail --------------------------------------------------------------------------


@contextlib.contextmanager
def playing(*answers):
    """A server whose connections get these answers in turn, one a request; ``None`` is silence.

    ``b""`` closes the connection.  Yields its port, and what it saw: numbers and heads.
    """
    seen = {"requests": 0, "connections": 0, "heads": []}
    left = list(answers)
    listener = socket.create_server(("127.0.0.1", 0))
    held = []

    def serve(connection):
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(65536):
                if b"\r\n\r\n" not in data:
                    continue
                seen["requests"] += 1
                seen["heads"].append(data.partition(b"\r\n\r\n")[0] + b"\r\n")
                answer = left.pop(0)
                if answer is None:
                    held.append(connection.dup())
                    return
                if not answer:
                    return
                connection.sendall(answer)

    def accept():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                seen["connections"] += 1
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1], seen
    finally:
        listener.close()
        for one in held:
            one.close()


def at(port, **options):
    return Client(f"http://127.0.0.1:{port}", **({"timeout": 30} | options))


def test_the_connection_is_kept():
    with playing(OK, OK, OK) as (port, seen), at(port) as client:
        for _ in range(3):
            assert client.topics("a").model == "it"
        assert (seen["requests"], seen["connections"]) == (3, 1)


@pytest.mark.parametrize("failure", [BUSY, b"", BUSY.replace(b"503", b"502")])
def test_failures_are_tried_again(failure):
    with playing(failure, failure, OK) as (port, seen), at(port) as client:
        assert client.topics("a").model == "it"
        assert seen["requests"] == 3


def test_silence_is_tried_again():
    with playing(None, OK) as (port, seen), at(port, timeout=0.3) as client:
        assert client.topics("a").model == "it"
        assert seen["requests"] == 2


def test_tries_and_pauses_come_to_an_end(monkeypatch):
    forever = BUSY.replace(b"Retry-After: 0", b"Retry-After: 99999")
    monkeypatch.setattr("topiccore.client.LONGEST_PAUSE", 0.1)
    with playing(forever, OK) as (port, _), at(port) as client:
        assert client.topics("a").model == "it"
    with playing(*[BUSY] * 3) as (port, seen), at(port, retries=2) as client:
        with pytest.raises(ServiceError, match="503"):
            client.topics("a")
        assert seen["requests"] == 3
    with (
        playing(b"", b"") as (port, _),
        at(port, retries=1) as client,
        pytest.raises(UnavailableError),
    ):
        client.topics("a")


def test_what_the_client_did_wrong_is_not_tried_again():
    answer = b"HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n"
    with playing(answer) as (port, seen), at(port) as client:
        with pytest.raises(ServiceError, match="400"):
            client.topics("a")
        assert seen["requests"] == 1


def test_nobody_listens():
    with at(free_port(), retries=1, timeout=1) as client:
        with pytest.raises(UnavailableError, match=r"127\.0\.0\.1"):
            client.topics("a")
        assert not client.ready()


def test_an_answer_that_is_not_the_services():
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"
    with (
        playing(answer) as (port, _),
        at(port) as client,
        pytest.raises(ServiceError, match="not that of a topiccore service"),
    ):
        client.topics("a")


def said(text):
    """A 200 with this JSON."""
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(text)}\r\n\r\n{text}".encode()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{}", "model is missing"),
        ('{"model":"x"}', "topics is missing"),
        ('{"model":"x","topics":[{}]}', r"topics\[0\]\.code is missing"),
        ('{"topics":[{}]}', "model is missing"),
        ('{"model":5,"topics":[],"truncated":false}', "model is not a string"),
        ('{"model":"x","topics":{},"truncated":false}', "topics is not an array"),
        ('{"model":"x","topics":[],"truncated":0}', "truncated is not true or false"),
        ('{"model":"x","topics":["A"],"truncated":false}', r"topics\[0\] is not an object"),
        (
            '{"model":"x","topics":[{"code":"A","name":"B","score":1},'
            '{"code":"A","name":"B","score":true}],"truncated":false}',
            r"topics\[1\]\.score is not a number",
        ),
        (
            '{"model":"x","topics":[{"code":"A","name":"B","score":1,"explanation":[]}],'
            '"truncated":false}',
            r"topics\[0\]\.explanation is not an object",
        ),
        ("[" * 100_000, "not that of a topiccore service"),
        ("[]", "not that of a topiccore service"),
    ],
)
def test_json_that_is_not_the_services_is_told_with_its_place(text, place):
    with playing(said(text)) as (port, seen), at(port) as client:
        with pytest.raises(ServiceError, match=place) as info:
            client.topics("a")
        assert (info.value.status, info.value.request_id) == (200, None)
        assert seen["requests"] == 1


@pytest.mark.parametrize(
    ("results", "place"),
    [
        ("null", "results is not an array"),
        ("[]", "results has 0 entries for 2 queries"),
        ('[{"topics":[],"truncated":false},3]', r"results\[1\] is not an object"),
        (
            '[{"topics":[],"truncated":false},{"topics":[{"code":1}]}]',
            r"results\[1\]\.topics\[0\]\.code is not a string",
        ),
    ],
)
def test_batches_that_are_not_the_services(results, place):
    text = f'{{"model":"x","results":{results}}}'
    with (
        playing(said(text)) as (port, _),
        at(port) as client,
        pytest.raises(ServiceError, match=place),
    ):
        client.topics_batch(["a", "b"])


def test_other_documents_that_are_not_the_services():
    with playing(said("{}"), said("{}")) as (port, _), at(port) as client:
        with pytest.raises(ServiceError, match="id is missing"):
            client.model()
        with pytest.raises(ServiceError, match="topics is missing"):
            client.taxonomy()
    problem = said('{"detail":5,"field":[]}').replace(b"200 OK", b"400 Bad")
    with playing(problem) as (port, _), at(port) as client:
        with pytest.raises(ServiceError, match=r"400: .*not that of") as info:
            client.topics("a")
        assert info.value.field is None


@contextlib.contextmanager
def trickling(prompt, slow, attempts):
    """A server that sends ``prompt`` at once, then ``slow`` a byte every 50 ms.

    Yields its port, and a list that gets what each of so many attempts was sent.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    sent = []

    def serve():
        for _ in range(attempts):
            with listener.accept()[0] as connection, contextlib.suppress(OSError):
                request = b""
                while not request.endswith(b"}"):
                    request += connection.recv(65536)
                connection.sendall(prompt)
                sent.append(prompt)
                for byte in slow:
                    connection.sendall(bytes([byte]))
                    sent[-1] += bytes([byte])
                    # What comes now is the end of the connection.
                    if select.select([connection], [], [], 0.05)[0]:
                        break

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], sent
    finally:
        thread.join(60)
        listener.close()


@pytest.mark.parametrize(
    "start", [0, OK.index(b"\r\n\r\n") + 4], ids=["from the first byte", "from the body on"]
)
def test_an_answer_that_trickles_is_given_up(start):
    """No byte is late, only all of them together; without a deadline the answer would be good."""
    with (
        trickling(OK[:start], OK[start:], 2) as (port, sent),
        at(port, timeout=0.5, retries=1) as client,
        pytest.raises(UnavailableError, match="timed out"),
    ):
        client.topics("a")
    assert len(sent) == 2
    assert OK not in sent


def test_an_answer_that_trickles_in_time_is_good():
    with trickling(OK[:-3], OK[-3:], 1) as (port, sent), at(port) as client:
        assert client.topics("a").model == "it"
    assert sent == [OK]


def test_what_connecting_takes_is_not_there_for_sending():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = HTTPConnection("127.0.0.1", listener.getsockname()[1], timeout=30)
        with contextlib.closing(connection):
            connection.connect()
            assert 0 < connection.timeout < 30
            assert connection.sock.gettimeout() == pytest.approx(connection.timeout)


def test_the_span_is_passed_on(client):
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert client.topics("honda", traceparent=trace).request_id == trace[3:35]
    found = client.topics_batch(["honda"], traceparent=trace, request_id="mine")
    assert found[0].request_id == "mine"
    header = b"\r\ntraceparent: " + trace.encode() + b"\r\n"
    with playing(OK, said('{"model":"x","results":[]}')) as (port, seen), at(port) as stranger:
        stranger.topics("a", traceparent=trace)
        stranger.topics_batch([], traceparent=trace)
        assert header in seen["heads"][0]
        assert header in seen["heads"][1]
    with playing(OK) as (port, seen), at(port) as stranger:
        stranger.topics("a")
        assert b"traceparent" not in seen["heads"][0]


@pytest.mark.parametrize("url", ["", "127.0.0.1:80", "ftp://x", "http://", "/v1"])
def test_what_is_no_url(url):
    with pytest.raises(ValueError, match="not the URL"):
        Client(url)
