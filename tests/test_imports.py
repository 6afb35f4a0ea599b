"""What ``import topiccore`` brings along: NumPy and nothing heavier; and its public names."""

import subprocess
import sys
from pathlib import Path

import pytest

import topiccore

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {
    *("sklearn", "gensim", "scipy", "torch", "pandas", "pyarrow", "fasttext", "joblib"),
    *("falcon", "granian", "service", "training", "benchmarks"),
}


def imported_by(code: str) -> set[str]:
    """The packages that a fresh Python imports to run ``code``."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines}


def test_import_is_light():
    packages = imported_by("import topiccore")
    assert {"topiccore", "numpy"} <= packages
    assert packages & HEAVY == set()


def test_scoring_is_light(artifact_path):
    code = (
        "import pickle, topiccore\n"
        f"model = topiccore.load({str(artifact_path)!r})\n"
        "assert model.score_batch(['used honda'], min_score=0)[0]\n"
        "model.explain('used honda', ['V'])\n"
        "pickle.loads(pickle.dumps(model))\n"
    )
    packages = imported_by(code)
    assert "topiccore" in packages
    assert packages & HEAVY == set()


def test_the_probe_sees_heavy_packages():
    pytest.importorskip("falcon")
    assert "falcon" in imported_by("import falcon")


def test_kernel_is_the_compiled_one():
    assert not topiccore._scoring.__file__.endswith(".py")


def test_public_names_are_there_and_once():
    assert [name for name in topiccore.__all__ if not hasattr(topiccore, name)] == []
    assert len(set(topiccore.__all__)) == len(topiccore.__all__)


def test_errors_are_topiccore_errors():
    for error in (topiccore.ArtifactError, topiccore.QueryTypeError, topiccore.QueryTooLongError):
        assert issubclass(error, topiccore.TopiccoreError)
    assert issubclass(topiccore.QueryTypeError, TypeError)
    assert issubclass(topiccore.QueryTooLongError, ValueError)
