"""The process of one peer: trains it, writes its probabilities, or answers timed rounds.

Started by ``benchmarks.peers``; imports the one peer it is asked for and nothing of the others.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import numpy as np

from benchmarks import timing
from benchmarks.machine import peak_memory
from benchmarks.peers import PEERS
from benchmarks.peers.cache import MISSING

WARM_UP = 30  # queries before each timed round, whose caches another peer has used since
WARM_UP_SECONDS = 0.2
BATCH_REPEATS = 20  # a batch is the queries this often, so that starting up is no part of its rate


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.peers.worker")
    parser.add_argument("job", choices=["train", "probabilities", "serve"])
    parser.add_argument("peer", choices=sorted(PEERS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--queries", type=Path, help="a JSON list of texts")
    parser.add_argument("--targets", type=Path, help="train: .npy, float32 [queries, labels]")
    parser.add_argument("--output", type=Path, help="probabilities: .npy, float32")
    chosen = parser.parse_args()
    # Libraries print what they like; the real standard output is kept for answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        run(chosen, answers)
    except ModuleNotFoundError as error:
        print(f"needs {error.name or error}", file=sys.stderr)
        return MISSING
    return 0


def run(chosen: argparse.Namespace, answers: IO[str]) -> None:
    """Does the job that the command line names."""
    peer = importlib.import_module(PEERS[chosen.peer])
    queries = json.loads(chosen.queries.read_text(encoding="utf-8"))
    if chosen.job == "train":
        targets = np.load(chosen.targets)
        peer.train(queries, targets, chosen.folder, lambda line: print(line, file=sys.stderr))
    elif chosen.job == "probabilities":
        np.save(chosen.output, peer.probabilities(peer.load(chosen.folder), queries))
    else:
        serve(peer, chosen.folder, queries, sys.stdin, answers)


def serve(
    peer: ModuleType, folder: Path, queries: list[str], requests: IO[str], answers: IO[str]
) -> None:
    """Loads, then answers a JSON line with a JSON line until the requests end.

    ``["single", seed, seconds]``: the seconds of each query, in random order, within a budget.
    ``["batch", seed, seconds]``: seconds per query of one batch.  ``["memory"]``: in bytes.
    """

    def answer(value: Any) -> None:
        print(json.dumps(value), file=answers, flush=True)

    start = time.perf_counter()
    model = peer.load(folder)
    peer.score(model, queries[0])
    answer(time.perf_counter() - start)
    for line in requests:
        kind, *arguments = json.loads(line)
        if kind == "memory":
            answer(peak_memory())
            continue
        seed, budget = arguments
        order = np.random.default_rng(seed).permutation(len(queries))
        shuffled = [queries[place] for place in order]
        once = _warm_up(peer, model, shuffled[-WARM_UP:])
        if kind == "single":
            taken = timing.call_latencies(lambda query: peer.score(model, query), shuffled, budget)
            answer(taken.tolist())
        else:
            fitting = int(budget / once)
            batch = (shuffled * BATCH_REPEATS)[: max(fitting, 32)]
            with timing.without_collector():
                start = time.perf_counter()
                peer.score_batch(model, batch)
                answer((time.perf_counter() - start) / len(batch))


def _warm_up(peer: ModuleType, model: Any, queries: list[str]) -> float:
    # Seconds per query of a few queries.
    start = time.perf_counter()
    done = 0
    for query in queries:
        peer.score(model, query)
        done += 1
        if time.perf_counter() - start > WARM_UP_SECONDS:
            break
    return (time.perf_counter() - start) / done


if __name__ == "__main__":
    sys.exit(main())
