"""The model that the suites time: a made-up one, or ``--artifact``."""

import json
from pathlib import Path

import pytest

import topiccore
from benchmarks import made_up
from topiccore.artifact import save


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--artifact", type=Path, help="time this artifact (default: a made-up one)")
    parser.addoption("--queries", type=Path, help="a JSON object: lists of queries by kind")


@pytest.fixture(scope="session")
def artifact_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if given := request.config.getoption("--artifact"):
        return given.resolve()
    path = tmp_path_factory.mktemp("artifacts") / "made-up"
    save(made_up.artifact(), path)
    return path


@pytest.fixture(scope="session")
def model(artifact_path: Path) -> topiccore.TopicModel:
    return topiccore.load(artifact_path)


@pytest.fixture(scope="session")
def cases(request: pytest.FixtureRequest) -> dict[str, list[str]]:
    if given := request.config.getoption("--queries"):
        return json.loads(given.read_text(encoding="utf-8"))
    return made_up.cases()
