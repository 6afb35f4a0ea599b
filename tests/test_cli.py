"""The command ``topiccore``: its subcommands, exit codes, and what it prints when all fails."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint, entry_points

import pytest

import topiccore
from topiccore import TopiccoreError, cli
from topiccore.cli import Command, main

HEAVY = {"sklearn", "scipy", "gensim", "torch", "falcon", "granian", "pyarrow", "service"}


def ends(arguments, capsys):
    """Exit code and both outputs of a command line that argparse ends."""
    with pytest.raises(SystemExit) as info:
        main(arguments)
    return info.value.code, *capsys.readouterr()


@pytest.fixture
def only(monkeypatch):
    """``only(name=object, ...)``: these entry points and no others."""

    def install(**values):
        modules = sys.modules
        entries = []
        for name, value in values.items():
            module = type(sys)(f"made_up_{name}")
            module.COMMAND = value
            monkeypatch.setitem(modules, module.__name__, module)
            entries.append(EntryPoint(name, f"made_up_{name}:COMMAND", cli.GROUP))
        monkeypatch.setattr(cli, "entry_points", lambda group: entries)
        return entries

    return install


def command(name, run=lambda _: 0):
    return Command(name, f"What {name} does.", lambda parser: parser.add_argument("--x"), run)


# --- subcommands --------------------------------------------------------------------------------


def test_the_subcommands_of_the_package():
    commands = {entry.name: entry.load() for entry in entry_points(group=cli.GROUP)}
    assert {"score", "serve", "train"} <= set(commands)
    assert {name: found.name for name, found in commands.items()} == {x: x for x in commands}


def test_help_lists_them(capsys):
    code, output, errors = ends(["--help"], capsys)
    assert (code, errors) == (0, "")
    for word in ("score", "serve", "train"):
        assert word in output


@pytest.mark.parametrize("name", ["score", "serve", "train"])
def test_each_has_help(name, capsys):
    code, output, errors = ends([name, "--help"], capsys)
    assert (code, errors) == (0, "")
    assert output.startswith(f"usage: topiccore {name} ")


def test_version(capsys):
    assert ends(["--version"], capsys) == (0, f"topiccore {topiccore.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["frobnicate"], "invalid choice: 'frobnicate'"),
        (["--frobnicate"], "COMMAND"),
        (["score", "--frobnicate"], "--frobnicate"),
    ],
)
def test_wrong_usage(arguments, message, capsys):
    code, output, errors = ends(arguments, capsys)
    assert (code, output) == (2, "")
    assert message in errors


@pytest.mark.parametrize(
    "how", [["-m", "topiccore.cli"], ["-c", "import topiccore.cli as c; c.main()"]]
)
def test_run_as_a_module(how):
    done = subprocess.run(
        [sys.executable, *how, "score", "--help"], capture_output=True, text=True, check=True
    )
    assert "usage: topiccore score" in done.stdout


def test_scoring_from_the_command_line_is_light(artifact_path):
    code = (
        "import sys; from topiccore.cli import main;"
        f"main(['score', '--model', {str(artifact_path)!r}, 'used honda']); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert "numpy" in modules
    assert modules & HEAVY == set()


# --- what runs ----------------------------------------------------------------------------------


def test_the_wanted_subcommand_runs(only):
    seen = []
    only(one=command("one", lambda x: seen.append(x.x) or 7), two=command("two"))
    assert main(["one", "--x", "y"]) == 7
    assert seen == ["y"]


def test_only_the_wanted_subcommand_is_imported(only):
    entries = only(one=command("one"))
    entries.append(EntryPoint("two", "no_such_module:COMMAND", cli.GROUP))
    assert main(["one"]) == 0


def test_subcommand_whose_package_is_missing(only, capsys):
    entries = only(one=command("one"))
    entries.append(EntryPoint("train", "no_such_module:COMMAND", cli.GROUP))
    assert main(["train", "--any", "thing"]) == 1
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors == (
        "topiccore: error: 'topiccore train' needs the package no_such_module: "
        "pip install 'topiccore[train]'\n"
    )
    code, output, _ = ends(["--help"], capsys)
    assert code == 0
    assert "What one does." in output
    assert "no_such_module" in output


# --- errors -------------------------------------------------------------------------------------


def raising(error):
    def run(_):
        raise error

    return run


def test_error_that_is_told(only, capsys):
    only(one=command("one", raising(TopiccoreError("file.tsv, line 3: no label 'X9'"))))
    assert main(["one"]) == 1
    assert capsys.readouterr() == ("", "topiccore: error: file.tsv, line 3: no label 'X9'\n")


def test_interrupt(only, capsys):
    only(one=command("one", raising(KeyboardInterrupt())))
    assert main(["one"]) == 130
    assert capsys.readouterr() == ("", "topiccore: interrupted\n")


def test_errors_that_nobody_foresaw_keep_their_traceback(only):
    only(one=command("one", raising(ZeroDivisionError("bug"))))
    with pytest.raises(ZeroDivisionError):
        main(["one"])


def test_reader_of_the_output_that_has_gone(artifact_path, tmp_path):
    # More than Python's buffer holds, so that a write fails before the end.
    (tmp_path / "queries").write_bytes(b"used honda\n" * 20_000)
    reader, writer = os.pipe()
    os.close(reader)
    try:
        with (tmp_path / "queries").open("rb") as queries:
            done = subprocess.run(
                [sys.executable, "-m", "topiccore.cli", "score", "--model", str(artifact_path)],
                stdin=queries,
                stdout=writer,
                stderr=subprocess.PIPE,
            )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("name", ["batch", "spark"])
@pytest.mark.parametrize(("option", "value"), [("--min-score", "1.5"), ("--max-labels", "-1")])
def test_numbers_out_of_range_are_wrong_usage(capsys, name, option, value):
    words = {"batch": ["in.txt", "-o", "out"], "spark": ["in.parquet", "out"]}[name]
    code, _, err = ends([name, *words, option, value], capsys)
    assert code == 2
    assert f"argument {option}: {value} is " in err
