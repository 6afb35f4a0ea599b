"""A version in MLflow's model registry, in a database of its own: ``make mlflow``."""

from __future__ import annotations

import pytest
from registry_support import ask, named, small_artifact

from topiccore import load
from topiccore.artifact import save
from topiccore.cli import main

pytestmark = [
    pytest.mark.system,
    # MLflow and what it is built on warn of their own doings.
    pytest.mark.filterwarnings("default"),
]


@pytest.fixture
def pushed(tmp_path, taxonomy, capsys, monkeypatch):
    monkeypatch.setenv("TOPICCORE_REGISTRY", str(tmp_path / "registry"))
    monkeypatch.chdir(tmp_path)
    artifact = named(small_artifact(taxonomy), "one", {"precision": 0.9, "coverage": 0.7})
    save(artifact, tmp_path / "one")
    return ask(capsys, "push", tmp_path / "one")[1]["id"]


def test_a_version_is_copied_once(pushed, tmp_path, capsys):
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    arguments = ["mlflow", pushed, "--uri", uri, "--name", "topics of queries"]
    code, made, _ = ask(capsys, *arguments)
    assert (code, made["version"], made["registered"]) == (0, "1", True)
    client = MlflowClient(uri, uri)
    version = client.get_model_version("topics of queries", "1")
    assert version.tags["topiccore.id"] == pushed
    run = client.get_run(made["run"])
    assert (run.data.metrics["precision"], run.data.metrics["coverage"]) == (0.9, 0.7)
    assert run.data.params["settings.epochs"] == "3"
    assert run.info.status == "FINISHED"
    # What MLflow gives back is the artifact, to the byte.
    target = tmp_path / "back"
    target.mkdir()
    assert load(client.download_artifacts(made["run"], "artifact", str(target))).id == pushed
    code, again, _ = ask(capsys, *arguments)
    assert (code, again) == (0, made | {"registered": False})
    assert len(client.search_model_versions("name='topics of queries'")) == 1


def test_a_server_that_is_not_there(pushed, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    uri = "http://127.0.0.1:9"
    assert main(["registry", "mlflow", pushed, "--uri", uri, "--name", "x"]) == 1
    assert f"MLflow at {uri}:" in capsys.readouterr().err
