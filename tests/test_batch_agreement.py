"""One answer to a query, row by row: ``score``, the service, and the batch command."""

from __future__ import annotations

import io
import json
import sys

import falcon.testing
import numpy as np
import pytest
from batch_support import QUERIES, expected, rows_of

from batch import readers
from service.app import create_app
from topiccore.cli import main

WORDS = ["used", "honda", "civic", "cheap", "hotel", "東", "🚗", "dallas", "red", "dress", "qq"]


@pytest.fixture(scope="module")
def queries():
    random = np.random.RandomState(5)
    drawn = [" ".join(random.choice(WORDS, random.randint(1, 7))) for _ in range(300)]
    return [*QUERIES, *drawn]


def paths_of(model):
    return ["--model", str(model.artifact.path)]


def rounded(rows):
    """Results as far as the service and ``score --json`` tell them: four decimals."""
    return [[(x["code"], round(x["score"], 4)) for x in row] for row in rows]


def by_score(model, queries, monkeypatch, capfd):
    data = "".join(f"{query}\n" for query in queries).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert main(["score", "--json", *paths_of(model)]) == 0
    return [json.loads(line)["topics"] for line in capfd.readouterr().out.splitlines()]


def by_post(model, queries):
    client = falcon.testing.TestClient(create_app(model))
    found = [client.simulate_post("/v1/topics", json={"query": query}) for query in queries]
    return [one.json["topics"] for one in found]


def by_post_of_many(model, queries):
    client = falcon.testing.TestClient(create_app(model))
    results = []
    for start in range(0, len(queries), 100):
        body = {"queries": queries[start : start + 100]}
        found = client.simulate_post("/v1/topics:batch", json=body)
        results += [one["topics"] for one in found.json["results"]]
    return results


def by_batch(model, queries, folder, threads):
    lines = "".join(json.dumps({"query": query}) + "\n" for query in queries)
    (folder / "in.jsonl").write_text(lines)
    output = folder / f"{threads}.parquet"
    words = ["batch", str(folder / "in.jsonl"), "-o", str(output), "--threads", str(threads)]
    assert main([*words, *paths_of(model)]) == 0
    return rows_of(output)


def test_every_way_gives_the_same_answers(any_model, queries, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(readers, "BLOCK_BYTES", 2000)
    rows = [expected(any_model, query) for query in queries]
    assert sum(map(bool, rows)) > 100
    for threads in (1, 2):
        assert by_batch(any_model, queries, tmp_path, threads) == rows
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()
    assert rounded(by_score(any_model, queries, monkeypatch, capfd)) == rounded(rows)
    assert rounded(by_post(any_model, queries)) == rounded(rows)
    assert rounded(by_post_of_many(any_model, queries)) == rounded(rows)
