"""Every way of asking that has to give the same answers, row by row."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import falcon.testing
import numpy as np
import pytest
from batch_support import QUERIES, rows_of

from service.app import create_app
from topiccore.cli import main

WORDS = ["used", "honda", "civic", "cheap", "hotel", "東", "🚗", "dallas", "red", "dress", "qq"]


def many_queries() -> list[str]:
    """Those of ``batch_support`` and 300 drawn ones."""
    random = np.random.RandomState(5)
    drawn = [" ".join(random.choice(WORDS, random.randint(1, 7))) for _ in range(300)]
    return [*QUERIES, *drawn]


def rounded(rows: Any) -> list[list[tuple[str, float]]]:
    """Results as far as the service and ``score --json`` tell them: four decimals."""
    return [[(x["code"], round(x["score"], 4)) for x in row] for row in rows]


def by_score(
    model: Any,
    queries: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Any:
    """``topiccore score --json``, from standard input."""
    data = "".join(f"{query}\n" for query in queries).encode()
    capfd.readouterr()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert main(["score", "--json", *_paths_of(model)]) == 0
    return [json.loads(line)["topics"] for line in capfd.readouterr().out.splitlines()]


def by_post(model: Any, queries: list[str]) -> Any:
    """The service, a query a request."""
    client = falcon.testing.TestClient(create_app(model))
    found = [client.simulate_post("/v1/topics", json={"query": query}) for query in queries]
    return [one.json["topics"] for one in found]


def by_post_of_many(model: Any, queries: list[str]) -> Any:
    """The service, a hundred queries a request."""
    client = falcon.testing.TestClient(create_app(model))
    results = []
    for start in range(0, len(queries), 100):
        body = {"queries": queries[start : start + 100]}
        found = client.simulate_post("/v1/topics:batch", json=body)
        results += [one["topics"] for one in found.json["results"]]
    return results


def by_batch(model: Any, queries: list[str], folder: Path, threads: int) -> Any:
    """``topiccore batch`` with so many threads; leaves ``<threads>.parquet`` in ``folder``."""
    lines = "".join(json.dumps({"query": query}) + "\n" for query in queries)
    (folder / "in.jsonl").write_text(lines)
    output = folder / f"{threads}.parquet"
    words = ["batch", str(folder / "in.jsonl"), "-o", str(output), "--threads", str(threads)]
    assert main([*words, *_paths_of(model)]) == 0
    return rows_of(output)


def _paths_of(model: Any) -> list[str]:
    return ["--model", str(model.artifact.path)]
