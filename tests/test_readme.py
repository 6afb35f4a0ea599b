"""What the README shows is what the commands in it print today."""

import doctest
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import URLError

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
PORT = 8080
_NUMBER = re.compile(r"[+-]?\d+\.\d+")


def commands() -> list[tuple[str, str]]:
    """Every ``$ command`` of the console blocks with the output that follows it."""
    found = []
    for kind, text in BLOCKS:
        if kind == "console":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                found.append((command, output))
    return found


def assert_alike(shown: str, printed: str) -> None:
    """Same text; numbers with a point may differ a little, as they do between kinds of CPU."""
    assert _NUMBER.sub("#", printed).split() == _NUMBER.sub("#", shown).split()
    for ours, theirs in zip(_NUMBER.findall(shown), _NUMBER.findall(printed), strict=True):
        assert float(theirs) == pytest.approx(float(ours), rel=0.06, abs=0.06)


@pytest.fixture(scope="module", autouse=True)
def trained() -> None:
    """The run that ``make demo`` leaves; nothing is done where it is up to date."""
    pytest.importorskip("sklearn")
    run("topiccore train")


def run(command: str) -> str:
    """The standard output of a command of the README."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        command, shell=True, cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readme_shows_commands():
    shown = [command.split()[0] for command, _ in commands()]
    assert shown.count("topiccore") >= 3
    assert "curl" in shown


@pytest.mark.parametrize(
    ("command", "output"),
    [pair for pair in commands() if not pair[0].startswith("curl")],
    ids=lambda text: text[:40] if isinstance(text, str) else None,
)
def test_commands(command, output):
    assert_alike(output, run(command))


def test_python():
    (text,) = [text for kind, text in BLOCKS if kind == "python"]
    namespace: dict[str, object] = {}
    before = Path.cwd()
    os.chdir(ROOT)
    try:
        for example in doctest.DocTestParser().get_examples(text):
            printed: list[str] = []
            display, sys.displayhook = sys.displayhook, _recorder(printed)
            try:
                exec(compile(example.source, "README.md", "single"), namespace)
            finally:
                sys.displayhook = display
            assert_alike(example.want, "\n".join(x for x in printed if x != "None"))
    finally:
        os.chdir(before)


def _recorder(printed: list[str]) -> Callable[[object], None]:
    return lambda value: printed.append(repr(value))


@pytest.fixture(scope="module")
def served(trained: None) -> Iterator[int]:
    """The port of a service started as the README says, on another port."""
    pytest.importorskip("granian")
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    (line,) = re.findall(r"`(topiccore serve [^`]+)`", README)
    server = subprocess.Popen(
        [sys.executable, "-m", "topiccore.cli", *shlex.split(line)[1:], "--port", str(port)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(400):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1).close()
                break
            except (URLError, OSError):
                assert server.poll() is None
                try:
                    server.wait(0.05)
                except subprocess.TimeoutExpired:
                    continue
        yield port
    finally:
        server.terminate()
        server.wait(30)


def test_http(served):
    for command, output in commands():
        if command.startswith("curl"):
            (url,) = re.findall(r"http://\S+?(?=')", command)
            with urllib.request.urlopen(url.replace(str(PORT), str(served))) as answer:
                printed = answer.read().decode()
            # The model's id is that of the machine that trained it.
            identity = re.compile(r"[0-9a-f]{64}")
            assert_alike(identity.sub("ID", output), identity.sub("ID", printed))
