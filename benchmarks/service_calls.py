"""``python -m benchmarks.service_calls``: what the application costs a request, without a server.

Each line is one way to be called through WSGI with the same real queries, in turns; the first is a
Falcon responder that returns a constant, the least that any Falcon application takes.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import falcon
import falcon.testing
import numpy as np

import topiccore
from benchmarks import collection, timing
from benchmarks.table import duration, table
from service.answer_counts import AnswerCounts
from service.app import create_app
from service.candidate import CANARY, SHADOW
from service.candidate_source import CandidateSource
from service.live import LiveModel, prepare
from service.logs import AccessLog
from service.request_meter import RequestMeter

BATCH = 100


class Constant:
    def on_get(self, _: falcon.Request, resp: falcon.Response) -> None:
        resp.data = b"x" * 214


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.service_calls")
    parser.add_argument("--artifact", type=Path, default=Path("runs/demo/artifact"))
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument(
        "--second", type=Path, help="another artifact: also measure it as canary and in shadow"
    )
    chosen = parser.parse_args(arguments)
    queries = collection.labelled().test.texts
    with tempfile.TemporaryDirectory() as folder:
        calls = _calls(topiccore.load(chosen.artifact), chosen.second, Path(folder), queries)
        found = {name: np.empty(chosen.rounds) for name in calls}
        for number in range(chosen.rounds):
            for name, (call, environs) in calls.items():
                found[name][number] = timing.loop_seconds(call, environs())
    constant = found["Falcon, a constant"][None]
    rows = []
    for name, seconds in found.items():
        ratio = timing.median_ratio(seconds[None], constant)
        shown = f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
        rows.append([name, duration(float(np.median(seconds))), shown])
    print(table(["a call", "median over rounds", "over a constant"], rows))
    return 0


def _calls(
    model: topiccore.TopicModel, second: Path | None, folder: Path, queries: list[str]
) -> dict[str, tuple[Callable[[Any], Any], Callable[[], list[dict[str, Any]]]]]:
    constant = falcon.App()
    constant.add_route("/v1/topics", Constant())
    plain = create_app(model)
    live = LiveModel(prepare(model, AnswerCounts(folder, model)))
    whole = create_app(live, meter=RequestMeter(folder), log=AccessLog(0.0, False))
    # Granian's environment holds the process's, too.
    base = dict(os.environ) | falcon.testing.create_environ("/v1/topics")
    targets = [f"q={quote_plus(query)}" for query in queries]
    bodies = [json.dumps({"query": query}).encode() for query in queries]
    batches = [
        json.dumps({"queries": queries[first : first + BATCH]}).encode()
        for first in range(0, len(queries), BATCH)
    ]

    def gets() -> list[dict[str, Any]]:
        return [base | {"QUERY_STRING": target} for target in targets]

    def posts(path: str, bodies: list[bytes]) -> list[dict[str, Any]]:
        more = {"REQUEST_METHOD": "POST", "CONTENT_TYPE": "application/json", "PATH_INFO": path}
        return [
            base | more | {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
            for body in bodies
        ]

    beside = {}
    if second is not None:
        for mode, share in ((CANARY, 0.05), (CANARY, 1.0), (SHADOW, 1.0)):
            source = CandidateSource(second, mode, share, folder)
            paired = LiveModel(source.beside(prepare(model, AnswerCounts(folder, model))))
            app = create_app(paired, meter=RequestMeter(folder), log=AccessLog(0.0, False))
            beside[f"GET, counted, {mode} of {share:.0%}"] = (_caller(app), gets)

    return {
        "Falcon, a constant": (_caller(constant), gets),
        "GET": (_caller(plain), gets),
        "GET, counted": (_caller(whole), gets),
        **beside,
        "POST, counted": (_caller(whole), lambda: posts("/v1/topics", bodies)),
        f"a batch of {BATCH}, counted": (
            _caller(whole),
            lambda: posts("/v1/topics:batch", batches),
        ),
    }


def _caller(app: Any) -> Callable[[dict[str, Any]], Any]:
    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        assert status == "200 OK"

    return lambda environ: list(app(environ, start))


if __name__ == "__main__":
    sys.exit(main())
