"""``topiccore score``: queries from arguments and standard input; text, JSON, explanations."""

from __future__ import annotations

import io
import json
import shutil
import sys

import pytest

import topiccore
from topiccore import MAX_QUERY_BYTES, MAX_TOKENS, ArtifactError
from topiccore.cli import main

QUERY = "used honda civic dallas"


@pytest.fixture
def score(artifact_path, capsys):
    """``score(*arguments)``: exit code and both outputs."""

    def run(*arguments):
        code = main(["score", "--model", str(artifact_path), *arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def pipe(score, monkeypatch):
    """``pipe(data, *arguments)``: the same with bytes on standard input."""

    def run(data, *arguments):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        return score(*arguments)

    return run


def lines_of(model, query, shown=None, **options):
    """What is printed for a query."""
    answer = model.score(query, **options)
    lines = [query if shown is None else shown]
    lines += [
        f"  {x.score:6.1%}  {x.code:<6}{model.taxonomy.full_name(x.code)}" for x in answer
    ] or ["  (no label reaches its threshold)"]
    return "\n".join(lines) + "\n"


def as_json(model, query, **options):
    answer = model.score(query, **options)
    topics = [{"code": x.code, "name": x.name, "score": round(x.score, 4)} for x in answer]
    return {"query": query, "topics": topics, "truncated": answer.truncated}


# --- text ---------------------------------------------------------------------------------------


def test_queries_of_the_arguments(score, model):
    assert score(QUERY) == (0, lines_of(model, QUERY), "")
    queries = ["red dress", "", "cheap hotel", "nothing known", "Straße 東 京"]
    assert score(*queries) == (0, "".join(lines_of(model, query) for query in queries), "")


def test_topics_are_named_with_their_subtopics(score):
    output = score("--min-score", "0", QUERY)[1]
    assert "V     Vehicles\n" in output
    assert "V1    Vehicles > Cars\n" in output
    assert "S2    Shopping > Chaussures et après-ski\n" in output


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_queries_of_standard_input(pipe, model, ending, last):
    queries = [QUERY, "", "  running  shoes ", "東 京"]
    data = ending.join(query.encode() for query in queries) + ending * last
    assert pipe(data) == (0, "".join(lines_of(model, query) for query in queries), "")


def test_no_queries(pipe):
    assert pipe(b"") == (0, "", "")


def test_standard_input_is_left_alone_when_there_are_arguments(pipe, model):
    assert pipe(b"red dress\n", QUERY) == (0, lines_of(model, QUERY), "")


def test_input_that_is_not_utf8(pipe, model):
    data = b"used \xff honda\n\xc3\n"
    expected = lines_of(model, b"used \xff honda", "used � honda") + lines_of(model, b"\xc3", "�")
    assert pipe(data) == (0, expected, "")


def test_options(score, model):
    found = score("--min-score", "0.2", "--max-labels", "3", QUERY)
    assert found == (0, lines_of(model, QUERY, min_score=0.2, max_labels=3), "")
    assert score("--max-labels", "0", QUERY) == (0, lines_of(model, QUERY, max_labels=0), "")
    many = "9" * 30
    assert score("--max-labels", many, QUERY) == (0, lines_of(model, QUERY), "")


def test_query_of_many_tokens(score, model):
    query = " ".join(["honda"] * (MAX_TOKENS + 1))
    code, output, _ = score("--max-labels", "1", query)
    assert code == 0
    assert output.endswith("  (long query: only its first tokens were scored)\n")
    assert "long query" not in score(" ".join(["honda"] * MAX_TOKENS))[1]
    assert json.loads(score("--json", query)[1])["truncated"] is True


def test_long_queries_are_not_printed_whole(score):
    first = score("x" * 1000)[1].splitlines()[0]
    assert first.startswith("xxx")
    assert len(first) < 250


def test_query_cannot_steer_the_terminal(pipe):
    for arguments in ((), ("--explain",)):
        output = pipe("honda \x1b[31m\x07\x00\x7f\x9b\u202e\u2028 red\n".encode(), *arguments)[1]
        assert all(c.isprintable() for line in output.split("\n") for c in line)


# --- JSON ---------------------------------------------------------------------------------------


def test_json_lines(pipe, model):
    queries = [QUERY, "", "東 京 après", "a\tb\x00c", '"quoted" \\']
    code, output, errors = pipe("\n".join(queries).encode(), "--json")
    assert (code, errors) == (0, "")
    assert output.isascii()
    assert [json.loads(line) for line in output.splitlines()] == [
        as_json(model, query) for query in queries
    ]


def test_json_with_options(score, model):
    code, output, _ = score("--json", "--min-score", "0", "--max-labels", "2", QUERY)
    assert code == 0
    assert json.loads(output) == as_json(model, QUERY, min_score=0, max_labels=2)


# --- explanations -------------------------------------------------------------------------------


def test_explanations(score, model):
    code, output, errors = score("--explain", "--min-score", "0", f"{QUERY} unseen")
    assert (code, errors) == (0, "")
    codes = [x.code for x in model.score(f"{QUERY} unseen", min_score=0)]
    lines = [f"{QUERY} unseen"]
    for item in model.explain(f"{QUERY} unseen", codes):
        lines.append(
            f"  {item.score:6.1%}  {item.code:<6}{model.taxonomy.full_name(item.code)}: "
            f"logit {item.logit:+.3f}, threshold {item.threshold:+.3f}"
        )
        lines += [f"    {share.share:+8.3f}  {share.text}" for share in item.shares]
        lines += [f"    {item.bias:+8.3f}  (bias)", f"    unknown: {' '.join(item.unknown)}"]
    assert output.splitlines() == lines
    assert "    unknown: unseen" in lines


def test_nothing_to_explain(score):
    output = score("--explain", "--max-labels", "0", QUERY)[1]
    assert output == f"{QUERY}\n  (no label reaches its threshold)\n"


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["--min-score", "1.5"], "--min-score"),
        (["--min-score", "-0.1"], "--min-score"),
        (["--min-score", "nan"], "--min-score"),
        (["--min-score", "half"], "--min-score"),
        (["--max-labels", "-1"], "--max-labels"),
        (["--max-labels", "2.5"], "--max-labels"),
        (["--json", "--explain"], "--json"),
    ],
)
def test_wrong_options(artifact_path, capsys, arguments, option):
    with pytest.raises(SystemExit) as info:
        main(["score", "--model", str(artifact_path), *arguments, QUERY])
    output, errors = capsys.readouterr()
    assert (info.value.code, output) == (2, "")
    assert option in errors.splitlines()[-1]


def test_query_over_the_limit(score, model):
    long = "x" * (MAX_QUERY_BYTES + 1)
    code, output, errors = score("red dress", long, QUERY)
    assert code == 1
    assert output == lines_of(model, "red dress") + lines_of(model, QUERY)
    assert errors.startswith(f"topiccore: error: query 2: the query has {len(long)} bytes")
    assert errors.count("\n") == 1


def test_line_over_the_limit(pipe, model):
    data = QUERY.encode() + b"\n" + b"x" * (MAX_QUERY_BYTES + 1) + b"\nred dress\n"
    code, output, errors = pipe(data, "--json")
    first, error, last = map(json.loads, output.splitlines())
    assert code == 1
    assert (first, last) == (as_json(model, QUERY), as_json(model, "red dress"))
    assert error == {"error": errors.removeprefix("topiccore: error: ").rstrip("\n")}
    assert error["error"].startswith("standard input, line 2: the query has ")


def test_no_artifact_at_all(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(topiccore.model, "PRETRAINED", tmp_path / "pretrained")
    monkeypatch.chdir(tmp_path)
    assert main(["score", QUERY]) == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert "runs/demo/artifact/manifest.json: No such file" in errors
    assert "Train one with 'topiccore train', or give another by --model" in errors
    with pytest.raises(ArtifactError, match="comes without a model: train one with") as caught:
        topiccore.load()
    assert str(tmp_path) not in str(caught.value)


def test_artifact_that_does_not_load(artifact_path, tmp_path, capsys):
    assert main(["score", "--model", str(tmp_path / "none"), QUERY]) == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith(f"topiccore: error: {tmp_path}/none/manifest.json: ")
    shutil.copytree(artifact_path, tmp_path / "cut")
    (tmp_path / "cut" / "bias.npy").write_bytes(b"")
    assert main(["score", "--model", str(tmp_path / "cut"), QUERY]) == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith(f"topiccore: error: {tmp_path}/cut/bias.npy: ")
