"""``topiccore serve`` up to the server: arguments, what must be installed, addresses, imports."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from service_support import save_tiny_artifact

from service import server
from service.options import AddressError, ServerOptions, available_cpus, free_address
from service.settings import Settings
from topiccore import MAX_QUERY_BYTES, TopiccoreError
from topiccore.cli import main

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("service") / "tiny"
    save_tiny_artifact(path)
    return path


@pytest.fixture
def served(monkeypatch):
    """What the server was called with, instead of the server."""
    calls = []
    monkeypatch.setattr(server, "serve", lambda *arguments: calls.append(arguments))
    return calls


@pytest.fixture
def listener():
    """A listening socket of 127.0.0.1 that would share its port, as Granian's does."""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield one


# --- arguments ----------------------------------------------------------------------------------


def test_arguments(path, served):
    arguments = ["--host", "::1", "--port", "1234", "--workers", "3", "--max-query-bytes", "100"]
    arguments += [
        "--max-connections",
        "7",
        "--metrics-port",
        "99",
        "--metrics-host",
        "::",
        "--watch",
    ]
    arguments += ["--tokens", "file", "--log-sample", "0.25", "--log-queries"]
    assert main(["serve", "--model", str(path), *arguments]) == 0
    settings = Settings(
        max_query_bytes=100, watch=True, tokens=Path("file"), log_sample=0.25, log_queries=True
    )
    assert served == [(path, ServerOptions("::1", 1234, 3, 7, "::", 99), settings)]


def test_arguments_by_default(path, served):
    assert main(["serve", "--model", str(path)]) == 0
    options = ServerOptions("127.0.0.1", 8080, available_cpus(), 1024, "127.0.0.1", None)
    assert served == [(path, options, Settings())]
    assert available_cpus() >= 1


@pytest.mark.parametrize(
    ("option", "texts", "top"),
    [
        ("--port", ["0", "65536", "-1", "http", "", "8_0 80", "9" * 5000], 65535),
        ("--workers", ["0", "1025", "two", "1.5"], 1024),
        ("--max-query-bytes", ["0", str(MAX_QUERY_BYTES + 1), "4k"], MAX_QUERY_BYTES),
    ],
)
def test_numbers_out_of_range(path, served, capsys, option, texts, top):
    for text in texts:
        with pytest.raises(SystemExit) as info:
            main(["serve", "--model", str(path), f"{option}={text}"])
        assert info.value.code == 2
        message = f"argument {option}: {text!r} is not a number from 1 to {top}"
        assert message in capsys.readouterr().err
    assert served == []


def test_artifact_that_does_not_load(tmp_path, served, capsys):
    assert main(["serve", "--model", str(tmp_path / "none")]) == 1
    assert re.match(rf"topiccore: error: {tmp_path}/none/manifest.json: ", capsys.readouterr().err)
    assert served == []


# --- what must be installed ---------------------------------------------------------------------


def forget_the_service(monkeypatch):
    """Makes the command import the service again."""
    for name in [name for name in sys.modules if name.startswith("service.")]:
        if name not in ("service.command", "service.settings", "service.options"):
            monkeypatch.delitem(sys.modules, name)
            monkeypatch.delattr(name)


@pytest.mark.parametrize("package", ["falcon", "granian", "msgspec", "prometheus_client"])
def test_package_that_is_not_installed(path, served, capsys, monkeypatch, package):
    forget_the_service(monkeypatch)
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["serve", "--model", str(path)]) == 1
    message = f"topiccore: error: {package} is not installed; pip install 'topiccore[serve]'\n"
    assert capsys.readouterr().err == message


def test_a_broken_installation_is_not_taken_for_a_missing_one(path, monkeypatch):
    forget_the_service(monkeypatch)
    monkeypatch.setitem(sys.modules, "granian.http", None)
    with pytest.raises(ModuleNotFoundError, match=r"granian\.http"):
        main(["serve", "--model", str(path)])


def modules_after(code: str) -> set[str]:
    """The top-level modules that a fresh Python has after ``code``."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.split(".")[0] for name in done.stdout.split()}


def test_the_command_is_described_without_the_server():
    assert modules_after("import service.command") & {"falcon", "granian", "training"} == set()


def test_what_serves_imports_nothing_that_trains():
    modules = modules_after("import service.app, service.server")
    assert {"falcon", "granian", "numpy"} <= modules
    assert modules & {"training", "sklearn", "scipy", "gensim", "torch", "benchmarks"} == set()


# --- addresses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "0.0.0.0"), ("127.1", "127.0.0.1")],
)
def test_free_address(host, address, listener):
    port = listener.getsockname()[1]
    listener.close()
    assert free_address(host, port) == address


def test_localhost():
    assert free_address("localhost", 0) in ("127.0.0.1", "::1")


def test_port_in_use(listener):
    port = listener.getsockname()[1]
    message = rf"^cannot listen at 127\.0\.0\.1:{port}: Address already in use$"
    with pytest.raises(AddressError, match=message):
        free_address("127.0.0.1", port)
    with pytest.raises(AddressError, match="Address already in use"):
        free_address("0.0.0.0", port)


@pytest.mark.parametrize("host", ["", "a" * 70, "a..b", "203.0.113.1"])
def test_host_that_is_not_this_machine(host):
    with pytest.raises(AddressError, match=rf"^cannot listen at {host}:8080: ."):
        free_address(host, 8080)


def test_address_errors_are_told(path, listener, capsys, monkeypatch):
    monkeypatch.setattr(server, "build", None)
    port = str(listener.getsockname()[1])
    assert main(["serve", "--model", str(path), "--port", port]) == 1
    assert capsys.readouterr().err.startswith(
        f"topiccore: error: cannot listen at 127.0.0.1:{port}"
    )


def test_address_errors_are_topiccore_errors():
    assert issubclass(AddressError, TopiccoreError)
