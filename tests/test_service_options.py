"""``topics_only`` and ``explain``, by GET and by POST, alone and with the other options."""

from __future__ import annotations

import falcon.testing
import pytest
from service_support import answer, check_problem, post, save_tiny_artifact

from service.app import create_app
from topiccore import load

PATH = "/v1/topics"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("service") / "tiny"
    save_tiny_artifact(path)
    return load(path)


@pytest.fixture(scope="module")
def client(model):
    return falcon.testing.TestClient(create_app(model))


def both(client, query, **options):
    """The answer to a query and options, which must be the same by GET and by POST."""
    texts = {name: str(value).lower() for name, value in options.items()}
    got = client.simulate_get(PATH, params={"q": query} | texts)
    posted = post(client, {"query": query} | options)
    assert got.status_code == posted.status_code == 200
    assert got.json == posted.json
    return got.json


def test_topics_only(client):
    found = both(client, "honda soup custard", topics_only=True)
    assert [topic["code"] for topic in found["topics"]] == ["V", "F"]


def test_topics_only_is_cut_after_the_subtopics_are_left_out(client):
    found = both(client, "honda custard", topics_only=True, max_labels=2)
    assert [topic["code"] for topic in found["topics"]] == ["V", "F"]
    assert both(client, "honda custard", topics_only=True, max_labels=0)["topics"] == []


def test_topics_only_with_a_floor(client):
    found = both(client, "honda", topics_only=True, min_score=0)
    assert [topic["code"] for topic in found["topics"]] == ["V", "F"]


def test_false_is_as_if_it_were_not_there(client, model):
    expected = answer(model, "honda")
    assert both(client, "honda", topics_only=False, explain=False) == expected


@pytest.mark.parametrize("text", ["1", "true"])
def test_spellings_of_true(client, text):
    result = client.simulate_get(PATH, params={"q": "honda", "topics_only": text})
    assert [topic["code"] for topic in result.json["topics"]] == ["V"]


def test_explain(client, model):
    found = both(client, "used honda", explain=True)
    explained = model.explain("used honda")
    assert [topic["code"] for topic in found["topics"]] == [one.code for one in explained]
    for topic, one in zip(found["topics"], explained, strict=True):
        assert topic["score"] == round(one.score, 4)
        told = topic["explanation"]
        assert told["logit"] == pytest.approx(one.logit, abs=1e-4)
        assert told["bias"] == pytest.approx(one.bias, abs=1e-4)
        assert told["shares"] == [{"text": x.text, "share": x.share} for x in one.shares]
        assert told["unknown"] == ["used"]
    best = found["topics"][1]["explanation"]
    assert best["shares"] == [{"text": "honda", "share": 8.0}]
    assert best["logit"] == best["bias"] + 8


def test_explain_with_the_other_options(client):
    found = both(client, "honda", explain=True, min_score=0, max_labels=3)
    assert [topic["explanation"]["threshold"] for topic in found["topics"]] == [0.0] * 3
    assert "explanation" in both(client, "soup", explain=True, topics_only=True)["topics"][0]
    assert both(client, "nothing", explain=True)["topics"] == []


@pytest.mark.parametrize("name", ["topics_only", "explain"])
def test_what_is_no_boolean(client, name):
    for text in ("", "yes", "2", "True", "null"):
        result = client.simulate_get(PATH, query_string=f"q=a&{name}={text}")
        check_problem(result, 400, name, "true or false")
    for value in (None, 0, 1, "true", []):
        check_problem(post(client, {"query": "a", name: value}), 400, name, "true or false")


def test_a_field_given_twice_is_refused_on_the_quick_way_too(client):
    for body in (
        b'{"query":"honda","query":"soup"}',
        b'{"query":"honda","explain":false,"explain":true}',
        b'{"query":"a:b","query":"soup"}',
        b'{"query":"honda","qu\\u0065ry":"soup"}',
    ):
        assert post(client, body).status_code == 400
        assert post(client, body).json["detail"] == "This field is given twice."
