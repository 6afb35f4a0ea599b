"""One model for threads and processes: the same answers, and one copy of the weights."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from topiccore import TopicModel
from topiccore._scoring import features, tokenize

THREADS = 16
WORDS = [
    *("used", "honda", "cheap", "hotel", "red", "dress", "running", "shoes", "dallas", "novel"),
    *("東", "🚗", "\ud83d", "cafe", "Straße", "\x00", "pizza!" * 500),
]


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads take turns as often as the interpreter can let them."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def made_up(count: int, seed: int) -> list[str]:
    random = np.random.RandomState(seed)
    return [" ".join(random.choice(WORDS, random.randint(0, 40))) for _ in range(count)]


def all_answers(model: TopicModel, queries: list[str], threads: int = 1) -> list[object]:
    column = pa.array([query.encode("utf-8", "replace") for query in queries])
    scored = model.score_arrow(column, min_score=0.2, threads=threads)
    return [
        [model.score(query, min_score=0.2) for query in queries],
        model.score_batch(queries, max_labels=3),
        model.logits(queries).tobytes(),
        model.explain(queries[0]),
        [x.tobytes() for x in (scored.offsets, scored.labels, scored.scores, scored.truncated)],
        tokenize(queries[0]),
        [x.tobytes() for x in features(queries)],
    ]


def run_together(threads: int, work: Callable[[int], object]) -> list[object]:
    together = threading.Barrier(threads)

    def start(number: int) -> object:
        together.wait()
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(start, range(threads)))


def test_many_threads_with_the_same_queries(any_model, hasty):
    queries = made_up(300, seed=1)
    expected = all_answers(any_model, queries)
    for found in run_together(THREADS, lambda _: all_answers(any_model, queries)):
        assert found == expected


def test_many_threads_each_with_its_queries(any_model, hasty):
    queries = [made_up(200, seed=number) for number in range(THREADS)]
    expected = [all_answers(any_model, own) for own in queries]
    found = run_together(THREADS, lambda i: all_answers(any_model, queries[i], threads=1 + i % 3))
    assert found == expected


def test_more_threads_than_scratch_memory_is_kept_for(large_model, hasty):
    queries = made_up(10, seed=2)
    expected = [large_model.score(query, max_labels=5) for query in queries]
    work = [large_model.score] * 64
    found = run_together(64, lambda i: [work[i](query, max_labels=5) for query in queries])
    assert found == [expected] * 64


def test_threads_and_a_model_that_goes_away(artifact, hasty):
    queries = made_up(50, seed=3)
    expected = TopicModel(artifact).score_batch(queries)
    found = run_together(THREADS, lambda _: TopicModel(artifact).score_batch(queries))
    assert found == [expected] * THREADS


PROCESSES = """
import multiprocessing, sys, topiccore

def answers(model):
    return [model.score(query, min_score=0.1) for query in ("used honda", "red dress", "pizza")]

if __name__ == "__main__":
    model = topiccore.load(sys.argv[1])
    expected = answers(model)
    context = multiprocessing.get_context(sys.argv[2])
    with context.Pool(2) as pool:
        found = pool.map(answers, [model] * 6)
    assert found == [expected] * 6
    print("as expected")
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_get_the_model_by_path(any_model, tmp_path, method):
    script = tmp_path / "script.py"
    script.write_text(PROCESSES)
    command = [sys.executable, str(script), str(any_model.artifact.path), method]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("as expected\n", "")


FORK = """
import os, sys, topiccore
model = topiccore.load(sys.argv[1])
expected = model.score("used honda", min_score=0.1)
children = []
for _ in range(4):
    child = os.fork()
    if not child:
        os._exit(model.score("used honda", min_score=0.1) != expected)
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
assert model.score("used honda", min_score=0.1) == expected
print("as expected")
"""


def test_a_model_survives_a_fork(any_model):
    command = [sys.executable, "-c", FORK, str(any_model.artifact.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("as expected\n", "")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_weights_are_mapped_read_only_and_shared(any_model):
    any_model.score("used honda red dress")
    with open("/proc/self/maps") as stream:
        maps = [line.split() for line in stream if str(any_model.artifact.path) in line]
    assert sorted({line[5].rsplit("/", 1)[1] for line in maps}) == sorted(
        file.name for file in any_model.artifact.path.glob("*.npy")
    )
    assert {line[1] for line in maps} == {"r--s"}
