"""The latency gate: its verdicts, and a worker on a small artifact."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import topiccore
from benchmarks.gate.verdict import Bounds, Verdict, judge

BOUNDS = Bounds(ratio=1.10, seconds=0.010)
ROOT = Path(__file__).resolve().parent.parent
WORKER = ROOT / "benchmarks" / "gate" / "worker.py"


def rounds(seconds: float, noise: float, seed: int) -> list[list[float]]:
    """Six launches of ten rounds, log-normal around ``seconds``."""
    random = np.random.default_rng(seed)
    return (seconds * np.exp(noise * random.standard_normal((6, 10)))).tolist()


def verdict(now: float, base: float, noise: float = 0.02) -> Verdict:
    times = {"tree": rounds(now, noise, 1), "base": rounds(base, noise, 2)}
    return judge("score", times, "tree", BOUNDS)


def test_clear_slowdown_fails() -> None:
    found = verdict(1.3e-6, 1e-6)
    assert found.failed
    assert found.ratio is not None
    assert 1.2 < found.ratio.low < found.ratio.high < 1.4


@pytest.mark.parametrize(
    ("now", "text"),
    [(1.0e-6, "same"), (1.05e-6, "slower, within the limit"), (0.8e-6, "faster")],
)
def test_small_changes_and_speedups_pass(now: float, text: str) -> None:
    found = verdict(now, 1e-6, noise=0.005 if now != 1e-6 else 0.02)
    assert not found.failed
    assert found.text == text


def test_what_may_be_noise_is_told_and_passes() -> None:
    launches = [[1.0], [1.15], [0.8], [1.6], [1.2], [0.9]]
    found = judge("load", {"tree": launches, "base": [[1.0]] * 6}, "tree", Bounds(1.05, 10))
    assert found.ratio is not None
    assert found.ratio.value > 1.05
    assert found.text == "may be slower, too noisy to tell"
    assert not found.failed


def test_absolute_bound_holds_without_a_base_and_for_requests_alone() -> None:
    slow = {"tree": rounds(0.011, 0.01, 1)}
    assert judge("score", slow, "tree", BOUNDS).failed
    assert not judge("load", slow, "tree", BOUNDS, per_request=False).failed
    assert judge("score", {"tree": rounds(1e-6, 0.01, 1)}, "tree", BOUNDS).text == "no base"


def test_absolute_bound_holds_where_the_base_is_as_slow() -> None:
    assert verdict(0.02, 0.02).failed


def start(packages: Path, artifact: Path, queries: Path, requests: str = "") -> tuple[int, list]:
    outcome = subprocess.run(
        [sys.executable, str(WORKER), str(packages), str(artifact), str(queries)],
        input=requests,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )
    return outcome.returncode, [json.loads(line) for line in outcome.stdout.splitlines()]


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    path = tmp_path / "queries.json"
    path.write_text(json.dumps({"mix": ["used honda", "red dress"], "short": ["pizza"]}))
    return path


def test_worker_times_what_it_is_asked(artifact_path: Path, queries: Path) -> None:
    packages = Path(topiccore.__file__).parent.parent
    asked = "".join(json.dumps(name) + "\n" for name in ("tokenize", "score, short", "score_arrow"))
    code, [ready, *seconds] = start(packages, artifact_path, queries, asked)
    assert code == 0
    assert ready["absent"] == {}
    assert {"score, mix", "score, short", "score_batch", "HTTP request"} <= set(ready["measures"])
    assert len(seconds) == 3
    assert all(0 < value < 1 for value in seconds)


def test_worker_tells_that_an_artifact_is_refused(tmp_path: Path, queries: Path) -> None:
    packages = Path(topiccore.__file__).parent.parent
    code, [ready] = start(packages, tmp_path / "none", queries)
    assert code == 0
    assert "manifest.json" in ready["refused"]


def test_worker_refuses_packages_of_another_side(
    tmp_path: Path, artifact_path: Path, queries: Path
) -> None:
    code, answers = start(tmp_path, artifact_path, queries)
    assert code != 0
    assert answers == []
