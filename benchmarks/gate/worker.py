"""One side of the gate: loads an artifact and times its measures when told to.

Run by path, with the packages of one side on ``PYTHONPATH``: it must work with every commit
that can be a base, so it imports NumPy, topiccore and the standard library alone, and says which
measures a commit does not have.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PASSES = 3
PASS_SECONDS = 0.004
BATCH_REPEATS = 10
Call = Callable[[], Any]


def main() -> None:
    packages, artifact, queries_file = sys.argv[1:]
    cases = json.loads(Path(queries_file).read_text(encoding="utf-8"))
    first = next(iter(cases.values()))[0]
    start = time.perf_counter()
    import topiccore

    if not Path(topiccore.__file__).is_relative_to(packages):
        raise SystemExit(f"topiccore came from {topiccore.__file__}, not from {packages}")
    try:
        model = topiccore.load(artifact)
    except topiccore.ArtifactError as error:
        answer({"refused": str(error)})
        return
    model.score(first)
    load = time.perf_counter() - start
    measures, absent = build(model, cases)
    answer({"load": load, "measures": list(measures), "absent": absent})
    for line in sys.stdin:
        call, queries = measures[json.loads(line)]
        answer(quickest(call) / queries)


def answer(value: Any) -> None:
    print(json.dumps(value), flush=True)


def build(
    model: Any, cases: dict[str, list[str]]
) -> tuple[dict[str, tuple[Call, int]], dict[str, str]]:
    """Measures by name, each with its number of queries; and those that cannot be, with why."""
    measures: dict[str, tuple[Call, int]] = {}
    absent: dict[str, str] = {}

    def add(name: str, queries: int, make: Callable[[], Call]) -> None:
        try:
            call = make()
            call()
        except (ImportError, AttributeError, TypeError) as error:
            absent[name] = f"{type(error).__name__}: {error}"
        else:
            measures[name] = call, queries

    mix = next(iter(cases.values()))
    add("tokenize", len(mix), lambda: tokenize_each(mix))
    for kind, queries in cases.items():
        add(f"score, {kind}", len(queries), lambda queries=queries: each(model.score, queries))
    batch = mix * BATCH_REPEATS
    add("score_batch", len(batch), lambda: lambda: model.score_batch(batch))
    add("score_arrow", len(batch), lambda: arrow(model, batch))
    add("HTTP request", len(mix), lambda: requests(model, mix))
    return measures, absent


def each(function: Callable[[Any], Any], inputs: list[Any]) -> Call:
    def call() -> None:
        for value in inputs:
            function(value)

    return call


def tokenize_each(queries: list[str]) -> Call:
    from topiccore._scoring import tokenize

    return each(tokenize, queries)


def arrow(model: Any, queries: list[str]) -> Call:
    import pyarrow

    array = pyarrow.array(queries)
    return lambda: model.score_arrow(array, threads=1)


def requests(model: Any, queries: list[str]) -> Call:
    """GET requests through the service's WSGI application, without a socket."""
    from urllib.parse import quote

    from falcon.testing import create_environ

    from service.app import create_app

    app = create_app(model)
    environs = [create_environ("/v1/topics", query_string="q=" + quote(q)) for q in queries]

    def request(environ: dict[str, Any]) -> None:
        list(app(dict(environ), start_response))

    def start_response(status: str, headers: Any, *rest: Any) -> None:
        if not status.startswith("200"):
            raise TypeError(f"GET /v1/topics answered {status}")

    return each(request, environs)


def quickest(call: Call) -> float:
    """Seconds of the quickest of a few passes, each long enough for the clock."""
    repeats = max(1, int(PASS_SECONDS / max(seconds(call), 1e-7)))

    def repeated() -> None:
        for _ in range(repeats):
            call()

    gc.collect()
    gc.disable()
    try:
        return min(seconds(repeated) for _ in range(PASSES)) / repeats
    finally:
        gc.enable()


def seconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
