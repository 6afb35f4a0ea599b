"""``GET /v1/topics``: answers, options, and every error of a query string."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, quote_plus

import falcon.testing
import pytest
from hypothesis import given
from hypothesis import strategies as st
from service_support import answer, call, check_problem, save_tiny_artifact, steady_headers

from service.app import create_app
from service.settings import Settings
from topiccore import MAX_TOKENS, load

PATH = "/v1/topics"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
VISIBLE = st.characters(min_codepoint=0x21, max_codepoint=0x7E)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("service") / "tiny"
    save_tiny_artifact(path)
    return load(path)


@pytest.fixture(scope="module")
def client(model):
    return falcon.testing.TestClient(create_app(model))


def get(client, query_string):
    return client.simulate_get(PATH, query_string=query_string)


# --- answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("q", "codes"),
    [
        ("used+honda", ["V", "V1"]),
        ("used%20honda", ["V", "V1"]),
        ("HONDA", ["V", "V1"]),
        ("truck", ["V"]),
        ("cr%C3%A8me", ["F", "F1"]),
        ("cr%c3%a8me%26honda", ["V", "V1", "F", "F1"]),
        ("soup%00", ["F"]),
        ("nothing+known", []),
        ("", []),
        ("+%20+", []),
        ("%F0%9F%9A%97", []),
    ],
)
def test_topics_of_a_query(client, model, q, codes):
    result = get(client, f"q={q}")
    assert result.status_code == 200
    assert result.headers["content-type"] == "application/json"
    assert result.json["model"] == model.id
    assert [topic["code"] for topic in result.json["topics"]] == codes


def test_the_whole_answer(client, model):
    assert get(client, "q=honda").json == {
        "topics": [
            {"code": "V", "name": "Vehicles", "score": 0.982},
            {"code": "V1", "name": "Cars", "score": 0.982},
        ],
        "truncated": False,
        "model": model.id,
    }


def test_answers_are_ascii(client):
    content = get(client, "q=custard").content
    assert content.isascii()
    assert b"Cr\\u00e8me" in content


@given(query=TEXT)
def test_any_text_is_answered_as_by_the_model(client, model, query):
    for encode in (quote, quote_plus):
        result = get(client, f"q={encode(query, safe='')}")
        assert result.status_code == 200
        assert result.json == answer(model, query)


def test_a_query_of_many_tokens_is_truncated(client):
    assert get(client, "q=" + "+".join(["a"] * MAX_TOKENS)).json["truncated"] is False
    assert get(client, "q=" + "+".join(["a"] * (MAX_TOKENS + 1))).json["truncated"] is True


def test_head_is_get_without_the_body(client):
    for query_string in ("q=honda", "", "q=%zz"):
        head = client.simulate_head(PATH, query_string=query_string)
        full = get(client, query_string)
        assert head.content == b""
        assert head.status == full.status
        assert steady_headers(head) == steady_headers(full)


# --- options ------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["0.5", ".5", "0.50000", "5e-1", "5E-01", "0", "0.", "1", "-0"])
def test_min_score(client, model, text):
    result = get(client, f"q=honda+soup&min_score={text}")
    assert result.json == answer(model, "honda soup", min_score=float(text))


@pytest.mark.parametrize("text", ["0", "1", "2", "3", "007", "9" * 18])
def test_max_labels(client, model, text):
    result = get(client, f"max_labels={text}&q=honda+soup")
    assert result.json["topics"] == answer(model, "honda soup")["topics"][: int(text)]


def test_both_options(client, model):
    expected = answer(model, "honda", min_score=0, max_labels=3)
    assert len(expected["topics"]) == 3
    assert get(client, "min_score=0&q=honda&max_labels=3").json == expected


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("query_string", ["", "&", "min_score=0.5"])
def test_q_is_missing(client, query_string):
    check_problem(get(client, query_string), 400, "q", "missing")


def test_a_name_without_a_value_is_an_empty_one(client):
    assert get(client, "q").json["topics"] == []


@pytest.mark.parametrize("name", ["query", "Q", "max", "min_score%20", "%C3%A9", "a" * 64, "[]"])
def test_unknown_parameter(client, name):
    result = get(client, f"q=honda&{name}=1")
    check_problem(
        result, 400, parse_qsl(f"{name}=1")[0][0], "explain, max_labels, min_score, q, topics_only"
    )


def test_the_name_of_an_unknown_parameter_is_cut(client):
    check_problem(get(client, f"q=honda&{'x' * 1000}=1"), 400, "x" * 64)


@pytest.mark.parametrize(
    ("query_string", "field"),
    [
        ("q=a&q=b", "q"),
        ("q=a&q=a", "q"),
        ("q=a&q", "q"),
        ("q=a&%71=b", "q"),
        ("q=a&min_score=0&min_score=0", "min_score"),
        ("q=a&max_labels=1&max_labels=2&max_labels=3", "max_labels"),
    ],
)
def test_parameter_given_twice(client, query_string, field):
    check_problem(get(client, query_string), 400, field, "twice")


@pytest.mark.parametrize(
    "text",
    [
        *("", "abc", "nan", "inf", "-inf", "1e", "0x1", "1_0", "0,5", "%2B", ".", "+0.5", "0.5%20"),
        *("%EF%BC%91", "%D9%A1", "0%00"),
    ],
)
def test_min_score_that_is_no_number(client, text):
    check_problem(get(client, f"q=a&min_score={text}"), 400, "min_score", "not a number")


@pytest.mark.parametrize("text", ["-0.001", "1.001", "2", "-1", "1e400", "9" * 5000])
def test_min_score_out_of_range(client, text):
    check_problem(get(client, f"q=a&min_score={text}"), 400, "min_score", "between 0 and 1")


@pytest.mark.parametrize("text", ["", "abc", "1.0", "1e3", "1_0", "9" * 19, "%D9%A1", "+1"])
def test_max_labels_that_is_no_integer(client, text):
    check_problem(get(client, f"q=a&max_labels={text}"), 400, "max_labels", "not an integer")


def test_max_labels_below_0(client):
    check_problem(get(client, "q=a&max_labels=-1"), 400, "max_labels", "below 0")


@pytest.mark.parametrize("text", ["%", "a%", "%f", "%zz", "%%", "100%25%", "%u0041", "%-1", "% 1"])
def test_broken_escape(client, text):
    check_problem(get(client, f"min_score=0&q={text}"), 400, "q", "two hexadecimal digits")


@pytest.mark.parametrize(
    "text",
    ["%FF", "%C3", "a%C3%28", "%C0%80", "%ED%A0%80", "%ED%A0%BD%ED%B8%80", "%F4%90%80%80", "%80"],
)
def test_bytes_that_are_not_utf8(client, text):
    check_problem(get(client, f"q={text}"), 400, "q", "not UTF-8")
    check_problem(get(client, f"q=a&max_labels={text}"), 400, "max_labels", "not UTF-8")


def test_bytes_that_are_utf8_only_across_parameters(client):
    check_problem(get(client, "q=%C3&max_labels=%A9"), 400, "q", "not UTF-8")
    check_problem(get(client, "q=%C3&%A9=b"), 400, None, "A parameter's name")


def test_characters_that_are_not_escaped(client):
    for text in ("cr\xc3\xa8me", "cr\xe8me", "honda\xa0"):  # bytes as PEP 3333 passes them
        result = call(client, {"QUERY_STRING": f"q={text}"})
        check_problem(result, 400, "q", "not percent-encoded")


@pytest.mark.parametrize("text", ["%zz", "%FF"])
def test_undecodable_name(client, text):
    check_problem(get(client, f"q=honda&{text}=1"), 400, None, "A parameter's name")


@pytest.mark.parametrize("unit", ["a", "%C3%A9", "%00", "+"])
def test_longest_query(model, unit):
    client = falcon.testing.TestClient(create_app(model, Settings(max_query_bytes=100)))
    size = 2 if unit == "%C3%A9" else 1
    assert get(client, "q=" + unit * (100 // size)).status_code == 200
    check_problem(get(client, "q=a" + unit * (100 // size)), 413, "q", "100 bytes")


def test_longest_query_by_default(client):
    assert get(client, "q=" + "a" * 4096).status_code == 200
    check_problem(get(client, "q=" + "a" * 4097), 413, "q", "4096 bytes")


@given(text=st.text(VISIBLE, max_size=40) | st.text("%&=+qmax_labels012cCfFé", max_size=40))
def test_hostile_values(client, model, text):
    """Where the standard library's strict reading gives one value, that query is answered."""
    value = text.replace("&", "").replace("é", "%C3%A9").replace("#", "")
    result = get(client, f"q={value}")
    try:
        [(_, query)] = parse_qsl(f"q={value}", keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        check_problem(result, 400, "q")
        return
    if result.status_code == 400:
        check_problem(result, 400, "q", "%")
        assert "%" in value
    else:
        assert result.json == answer(model, query)


@given(text=st.text(VISIBLE, max_size=60) | st.text("%&=+qmax_labels012cCfF", max_size=60))
def test_hostile_query_strings(client, text):
    result = get(client, text.lstrip("?"))
    if result.status_code != 200:
        check_problem(result, 400, result.json.get("field"))
