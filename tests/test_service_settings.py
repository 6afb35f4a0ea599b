"""Settings, and the application that the environment describes."""

from __future__ import annotations

from pathlib import Path

import falcon.testing
import pytest
from service_support import answer, check_problem, save_tiny_artifact

from service.app import create_app, get_app
from service.settings import Settings, SettingsError, model_path, to_environment
from topiccore import MAX_QUERY_BYTES, ArtifactError, TopiccoreError, load

MODEL = "TOPICCORE_MODEL"
MAX = "TOPICCORE_MAX_QUERY_BYTES"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("service") / "tiny"
    save_tiny_artifact(path)
    return path


@pytest.mark.parametrize("text", ["1", "4096", "0100", str(MAX_QUERY_BYTES)])
def test_limit_of_the_environment(text):
    assert Settings.from_environment({MAX: text}) == Settings(max_query_bytes=int(text))


@pytest.mark.parametrize("environment", [{}, {MAX: ""}, {"PATH": "/bin"}])
def test_limit_by_default(environment):
    assert Settings.from_environment(environment) == Settings(max_query_bytes=4096)


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "-1",
        "+1",
        " 1",
        "1.5",
        "1e3",
        "4k",
        "x",
        "١",
        "²",
        str(MAX_QUERY_BYTES + 1),
        "9" * 5000,
    ],
)
def test_limit_that_is_no_number_or_out_of_range(text):
    with pytest.raises(SettingsError, match=f"^{MAX} is .*from 1 to {MAX_QUERY_BYTES}$"):
        Settings.from_environment({MAX: text})


def test_setting_errors_are_topiccore_errors():
    assert issubclass(SettingsError, TopiccoreError)


@pytest.mark.parametrize("environment", [{}, {MODEL: ""}])
def test_no_model_in_the_environment(environment):
    with pytest.raises(SettingsError, match=f"{MODEL} is not set"):
        model_path(environment)


@pytest.mark.parametrize("size", [1, 100, 4096, MAX_QUERY_BYTES])
def test_settings_reach_the_workers(size):
    environment = to_environment(Path("some/artifact"), Settings(size))
    assert Settings.from_environment(environment) == Settings(size)
    assert model_path(environment) == Path.cwd() / "some/artifact"


def test_app_of_the_environment(path, monkeypatch):
    monkeypatch.setenv(MODEL, str(path))
    monkeypatch.setenv(MAX, "10")
    client = falcon.testing.TestClient(get_app())
    result = client.simulate_get("/v1/topics", params={"q": "honda"})
    assert result.json == answer(load(path), "honda")
    check_problem(client.simulate_get("/v1/topics", params={"q": "a" * 11}), 413, "q", "10 bytes")


def test_tokens_that_others_can_read_are_told_of_in_a_server_of_ones_own(
    path, tmp_path, monkeypatch, caplog
):
    tokens = tmp_path / "tokens"
    tokens.write_text("a-token-for-the-tests")
    monkeypatch.setenv(MODEL, str(path))
    monkeypatch.setenv("TOPICCORE_TOKENS", str(tokens))
    for mode, count in ((0o600, 0), (0o660, 0), (0o604, 1)):
        tokens.chmod(mode)
        caplog.clear()
        get_app()
        found = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
        assert len(found) == count
        assert all(one.startswith(f"{tokens}: every user") for one in found)


def test_app_of_an_environment_with_errors(path, tmp_path, monkeypatch):
    monkeypatch.delenv(MODEL, raising=False)
    with pytest.raises(SettingsError, match=MODEL):
        get_app()
    monkeypatch.setenv(MODEL, str(tmp_path / "missing"))
    with pytest.raises(ArtifactError, match=str(tmp_path / "missing")):
        get_app()
    monkeypatch.setenv(MODEL, str(path))
    monkeypatch.setenv(MAX, "many")
    with pytest.raises(SettingsError, match="'many'"):
        get_app()


def test_app_around_a_model_reads_no_environment(path, monkeypatch):
    model = load(path)
    monkeypatch.setenv(MODEL, "nowhere")
    monkeypatch.setenv(MAX, "nothing")
    monkeypatch.setattr("service.taking_up.load", None)
    one = falcon.testing.TestClient(create_app(model))
    other = falcon.testing.TestClient(create_app(model, Settings(max_query_bytes=3)))
    assert one.simulate_get("/v1/topics", params={"q": "soup"}).status_code == 200
    assert other.simulate_get("/v1/topics", params={"q": "soup"}).status_code == 413
