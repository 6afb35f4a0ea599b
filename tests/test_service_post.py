"""``POST /v1/topics``: answers, options, and every error of a JSON body and its fields."""

from __future__ import annotations

import json

import falcon.testing
import pytest
from hypothesis import given
from hypothesis import strategies as st
from service_support import answer, check_problem, post, save_tiny_artifact

from service.app import create_app
from service.settings import Settings
from topiccore import load

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
FIELDS = {"query", "min_score", "max_labels"}
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(0, 1)
    | st.text(max_size=20)
)
VALUES = st.recursive(
    SCALARS, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=5), x, max_size=3)
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("service") / "tiny"
    save_tiny_artifact(path)
    return load(path)


@pytest.fixture(scope="module")
def client(model):
    return falcon.testing.TestClient(create_app(model))


# --- answers ------------------------------------------------------------------------------------


def test_the_whole_answer(client, model):
    result = post(client, {"query": "crème & Honda"})
    assert result.status_code == 200
    assert result.headers["content-type"] == "application/json"
    assert result.json == {
        "topics": [
            {"code": "V", "name": "Vehicles", "score": 0.982},
            {"code": "V1", "name": "Cars", "score": 0.982},
            {"code": "F", "name": "Food", "score": 0.982},
            {"code": "F1", "name": "Crème brûlée", "score": 0.982},
        ],
        "truncated": False,
        "model": model.id,
    }


@given(query=TEXT, escaped=st.booleans())
def test_any_text_is_answered_as_by_the_model(client, model, query, escaped):
    body = json.dumps({"query": query}, ensure_ascii=escaped).encode()
    result = post(client, body)
    assert result.status_code == 200
    assert result.json == answer(model, query)


@pytest.mark.parametrize(
    ("body", "query"),
    [
        (rb'{"query":"\u0068onda"}', "honda"),
        (rb'{"query":"\ud83d\ude97 soup"}', "\U0001f697 soup"),
        (rb'{"query":"a\u0000b honda"}', "a\0b honda"),
        (rb'{"query":"honda\/\"\\\n\t"}', 'honda/"\\\n\t'),
        (b' \t\r\n{ "query" : "honda" } \n', "honda"),
        (b'{"\\u0071uery": "honda"}', "honda"),
        (b'{"query":""}', ""),
    ],
)
def test_json_in_any_spelling(client, model, body, query):
    assert post(client, body).json == answer(model, query)


@pytest.mark.parametrize("value", [0, 1, 0.5, 0.0, 1.0, -0.0, 1e-300])
def test_min_score(client, model, value):
    result = post(client, {"query": "honda soup", "min_score": value})
    assert result.json == answer(model, "honda soup", min_score=value)


@pytest.mark.parametrize("value", [0, 1, 3, 3.0, 2**31, 2**63, 10**30])
def test_max_labels(client, model, value):
    result = post(client, {"max_labels": value, "query": "honda soup"})
    assert result.json["topics"] == answer(model, "honda soup")["topics"][: int(value)]


# --- fields -------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [{}, {"min_score": 0.5}])
def test_query_is_missing(client, body):
    check_problem(post(client, body), 400, "query", "missing")


@pytest.mark.parametrize("value", [None, 5, 0.5, True, ["honda"], {"text": "honda"}])
def test_query_that_is_no_string(client, value):
    check_problem(post(client, {"query": value}), 400, "query", "not a string")


@pytest.mark.parametrize("value", [None, "0.5", True, False, [0.5], {}])
def test_min_score_that_is_no_number(client, value):
    body = {"query": "a", "min_score": value}
    check_problem(post(client, body), 400, "min_score", "not a number")


@pytest.mark.parametrize("text", ["-0.001", "1.001", "-1", "1e999", "-1e999", "1" + "0" * 400])
def test_min_score_out_of_range(client, text):
    body = b'{"query":"a","min_score":%s}' % text.encode()
    check_problem(post(client, body), 400, "min_score", "between 0 and 1")


@pytest.mark.parametrize("value", [None, "3", 3.5, 1e-3, True, [3], {}])
def test_max_labels_that_is_no_integer(client, value):
    body = {"query": "a", "max_labels": value}
    check_problem(post(client, body), 400, "max_labels", "not an integer")


@pytest.mark.parametrize("value", [-1, -(10**30)])
def test_max_labels_below_0(client, value):
    check_problem(post(client, {"query": "a", "max_labels": value}), 400, "max_labels", "below 0")


@pytest.mark.parametrize("name", ["q", "Query", "", "é", "\0", "\ud83d", "x" * 64])
def test_unknown_field(client, name):
    detail = "explain, max_labels, min_score, query, topics_only"
    check_problem(post(client, {"query": "a", name: 1}), 400, name, detail)


def test_the_name_of_an_unknown_field_is_cut(client):
    check_problem(post(client, {"query": "a", "x" * 1000: 1}), 400, "x" * 64)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"query":"a","query":"b"}', "query"),
        (b'{"query":"a","query":"a"}', "query"),
        (b'{"query":"a","\\u0071uery":"a"}', "query"),
        (b'{"query":"a","min_score":0,"max_labels":1,"min_score":0}', "min_score"),
        (b'{"query":"a","x":{"y":1,"y":2}}', "y"),
        (b'{"query":"a","%s":1,"%s":1}' % (b"x" * 99, b"x" * 99), "x" * 64),
    ],
)
def test_field_given_twice(client, body, field):
    check_problem(post(client, body), 400, field, "twice")


@pytest.mark.parametrize("text", [rb"\ud83d", rb"a\udfffb", rb"\ude97\ud83d"])
def test_half_of_a_surrogate_pair(client, text):
    check_problem(post(client, b'{"query":"%s"}' % text), 400, "query", "surrogate")


@pytest.mark.parametrize("unit", ["a", "é", "\0", '"', "\U0001f697"])
def test_longest_query(model, unit):
    """Reached in any spelling: the limit of the body leaves room for the escapes."""
    client = falcon.testing.TestClient(create_app(model, Settings(max_query_bytes=4000)))
    longest = unit * (4000 // len(unit.encode()))
    escapes = "".join(f"\\u{ord(c):04x}" for c in longest) if unit < "\uffff" else longest
    assert post(client, {"query": longest}).status_code == 200
    assert post(client, b'{"query":"%s"}' % escapes.encode()).status_code == 200
    check_problem(post(client, {"query": longest + "a"}), 413, "query", "4000 bytes")


# --- JSON ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"[]", b'["honda"]', b'"honda"', b"5", b"null", b"true"])
def test_json_that_is_no_object(client, body):
    check_problem(post(client, body), 400, None, "not a JSON object")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"{", "line 1, column 2"),
        (b"honda", "line 1, column 1"),
        (b"q=honda", "line 1, column 1"),
        (b'{"query":"honda"', "line 1, column 17"),
        (b'{"query":"honda"}}', "line 1, column 18"),
        (b'{"query":"honda"} x', "line 1, column 19"),
        (b'{"query":"honda",}', "line 1, column"),
        (b"{'query':'honda'}", "line 1, column 2"),
        (b'{"query":"a\nb"}', "line 1, column 12"),
        (b'{"query":"a\0b"}', "line 1, column 12"),
        (b'{\n"query":\n"\\x41"}', "line 3, column 2"),
        (b'{"query":"\\ud8"}', "line 1, column"),
        (b'{"query":"a","max_labels":01}', "line 1, column"),
        (b'{"query":"a","max_labels":+1}', "line 1, column"),
        (b'{"query":"a","min_score":.5}', "line 1, column"),
        (b'{"query":"a"/**/}', "line 1, column"),
        (b"   ", "line 1, column"),
        (b"\0", "line 1, column 1"),
    ],
)
def test_not_json(client, body, place):
    check_problem(post(client, body), 400, None, place)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "9" * 5000])
def test_numbers_that_json_or_python_refuse(client, text):
    body = b'{"query":"a","min_score":%s}' % text.encode()
    check_problem(post(client, body), 400, None, "number")


def test_no_body(client):
    check_problem(post(client, b""), 400, None, "empty")


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b'{"query":"\xff"}', 10),
        (b'{"query":"cr\xe8me"}', 12),
        (b'{"query":"\xc0\x80"}', 10),
        (b'{"query":"\xed\xa0\x80"}', 10),
        (b'{"query":"\xc3', 10),
        ('{"query":"honda"}'.encode("utf-16"), 0),
    ],
)
def test_body_that_is_not_utf8(client, body, place):
    check_problem(post(client, body), 400, None, f"not UTF-8 at byte {place}")


def test_byte_order_mark(client):
    check_problem(post(client, b'\xef\xbb\xbf{"query":"a"}'), 400, None, "byte order mark")


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
@pytest.mark.parametrize("closed", [False, True])
def test_deep_nesting(client, opening, closed):
    depth = 10000 // len(opening)
    closing = {"[": "]", '{"a":': "}", '[{"a":': "}]"}[opening]
    body = '{"query":"a","x":' + opening * depth + ("1" + closing * depth + "}") * closed
    assert len(body) < Settings().max_body_bytes
    check_problem(post(client, body.encode()), 400, None, "nested too deeply")


@pytest.mark.parametrize("text", ["[" * 1000, '"[' * 500, '\\"{' * 300, "\\" * 99 + "{[" * 500])
def test_brackets_in_a_string_are_no_nesting(client, model, text):
    assert post(client, {"query": f"honda {text}"}).json == answer(model, f"honda {text}")


# --- everything ---------------------------------------------------------------------------------


def fits(value) -> bool:
    """Whether the service has to answer this JSON value, by the documented rules."""
    if not isinstance(value, dict) or set(value) - FIELDS or "query" not in value:
        return False
    score, labels = value.get("min_score", 0), value.get("max_labels", 0)
    return (
        isinstance(value["query"], str)
        and not any("\ud800" <= c <= "\udfff" for c in value["query"])
        and type(score) in (int, float)
        and 0 <= score <= 1
        and (type(labels) is int or (type(labels) is float and labels.is_integer()))
        and labels >= 0
    )


@given(
    value=VALUES
    | st.fixed_dictionaries({}, optional=dict.fromkeys(sorted(FIELDS), VALUES))
    | st.fixed_dictionaries({"query": TEXT}, optional={"min_score": SCALARS, "max_labels": SCALARS})
)
def test_any_json(client, model, value):
    result = post(client, value)
    if fits(value):
        options = {name: value[name] for name in FIELDS - {"query"} if name in value}
        if "max_labels" in options:
            options["max_labels"] = int(min(options["max_labels"], 4))
        assert result.json == answer(model, value["query"], **options)
    else:
        check_problem(result, 400, result.json.get("field"))


@given(body=st.binary(max_size=60) | st.text('{}[]"\\:,querymaxlbscou019.-e ', max_size=60))
def test_any_bytes(client, body):
    check = post(client, body if isinstance(body, bytes) else body.encode())
    if check.status_code != 200:
        check_problem(check, 400, check.json.get("field"))
