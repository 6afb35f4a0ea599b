"""``topiccore train`` as a user runs it: output, exit codes, messages, nothing half-written."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from training_support import DATA, train, trained, write_config

import topiccore
from topiccore.cli import main
from training.command import COMMAND, STAGE_NAMES, progress
from training.stages import STAGES

LABELS = "labels.tsv"


@pytest.fixture
def no_network(tmp_path) -> dict[str, str]:
    """An environment in which pip finds packages in an empty folder only."""
    (tmp_path / "links").mkdir()
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "links")}


def refused(outcome, message: str) -> None:
    """The command said this and nothing else, and failed."""
    assert outcome.returncode == 1
    assert outcome.stdout == ""
    told = [line for line in outcome.stderr.splitlines() if not line.startswith("[")]
    assert told[0].startswith("topiccore: error: ")
    assert re.search(message, "\n".join(told)), outcome.stderr
    assert "Traceback" not in outcome.stderr


def left(folder: Path) -> list[str]:
    """Every file and folder below a folder; none when there is no such folder."""
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*"))


# --- a run that works --------------------------------------------------------------------------


def test_output_of_a_whole_run(tmp_path_factory):
    folder, _, outcome = trained(tmp_path_factory)
    assert outcome.returncode == 0
    lines = outcome.stderr.splitlines()
    assert all(re.fullmatch(r"\[ *\d+\.\d s\] .+", line) for line in lines)
    told = [line.split("] ", 1)[1] for line in lines]
    assert re.match(r"\d+ training queries, 999 test queries, \d+ unlabelled, 356", told[0])
    assert told[1] == "word vectors: epoch 1/1"
    assert re.match(r"student: \d+ examples, \d+ words, \d+ bigrams, \d+ n-grams, 66 ", told[2])
    assert told[3:-3] == [f"student: epoch {epoch}/3" for epoch in (1, 2, 3)]
    assert told[-3].startswith("thresholds: best topic from a score of ")
    artifact = topiccore.load(folder / "artifact")
    assert told[-2] == f"artifact {artifact.id[:12]} in {folder / 'artifact'}"
    assert told[-1] == f"report in {folder / 'report.html'}"
    assert outcome.stdout.startswith("quality on 999 test queries")
    assert "expected calibration error: 0." in outcome.stdout


def test_trained_artifact_scores(tmp_path_factory, capsys):
    folder, _, _ = trained(tmp_path_factory)
    assert main(["score", "--model", str(folder / "artifact"), "used honda civic"]) == 0
    assert "VE" in capsys.readouterr().out


def test_stages_on_the_command_line_are_those_of_the_pipeline():
    assert [stage.name for stage in STAGES] == list(STAGE_NAMES)


def test_one_stage(tmp_path):
    config = write_config(tmp_path)
    outcome = train("collections", "--config", config, "--out", tmp_path / "run")
    assert outcome.returncode == 0, outcome.stderr
    assert len(outcome.stderr.splitlines()) == 1
    assert outcome.stdout == ""
    assert left(tmp_path / "run") == ["stages.json"]


def test_help_needs_no_training_package(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["train", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for word in (*STAGE_NAMES, "--config", "--out", "--cache", "--again"):
        assert word in text
    assert COMMAND.name == "train"


def test_progress_lines(capsys):
    progress(0.0)("hello")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"\[ *\d+\.\d s\] hello\n", captured.err)


# --- runs that cannot be -----------------------------------------------------------------------


def test_missing_collection(tmp_path, no_network):
    config = write_config(tmp_path)
    run, cache = tmp_path / "run", tmp_path / "cache"
    outcome = train(*("--config", config, "--out", run, "--cache", cache), environment=no_network)
    refused(outcome, r"error: cannot fetch pyserini 0\.12\.0: ERROR: .*\nwithout a network, put ")
    assert f"into {cache} and run again" in outcome.stderr
    assert left(run) == []
    assert left(cache) == []


def test_missing_collection_of_the_default_cache(tmp_path, no_network):
    config = write_config(tmp_path)
    environment = no_network | {"TOPICCORE_CACHE": str(tmp_path / "mine")}
    outcome = train("--config", config, "--out", tmp_path / "run", environment=environment)
    refused(outcome, f"into {tmp_path / 'mine'} and run again")
    assert left(tmp_path / "run") == []


def test_damaged_collection(tmp_path, no_network):
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "pyserini-0.12.0-py3-none-any.whl").write_bytes(b"PK")
    config = write_config(tmp_path)
    outcome = train("--config", config, "--out", tmp_path / "run", "--cache", cache)
    refused(outcome, r"pyserini-0\.12\.0-py3-none-any\.whl: sha256 is .*; delete the file")
    assert left(tmp_path / "run") == []


def wrong_checksum(lines: list[str]) -> None:
    fields = lines[4].split("\t")
    lines[4] = "\t".join([fields[0], "00000000", *fields[2:]])


def unknown_id(lines: list[str]) -> None:
    lines[4] = "\t".join(["mq:999999", *lines[4].split("\t")[1:]])


def id_of_another(lines: list[str]) -> None:
    lines[4] = "\t".join([lines[900].split("\t")[0], *lines[4].split("\t")[1:]])
    del lines[900]


def unknown_label(lines: list[str]) -> None:
    lines[4] = "\t".join([*lines[4].split("\t")[:3], "ZZ01"])


def cut_short(lines: list[str]) -> None:
    lines[-1] = lines[-1][:9]


def training_query(lines: list[str]) -> None:
    with (DATA / "labels-train.tsv").open(encoding="utf-8") as stream:
        lines[4] = stream.read(10_000).split("\n")[7]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (wrong_checksum, ":5: id .* has checksum 00000000, the collection's text has "),
        (unknown_id, ":5: id mq:999999 is in no collection"),
        (id_of_another, ":5: id .* has checksum .*, the collection's text has "),
        (unknown_label, ":5: label 'ZZ01' is not in the taxonomy"),
        (cut_short, ":1000: . columns, expected 4"),
        (training_query, ": 1 of 999 test queries have the text of a training query: "),
    ],
)
def test_labels_that_do_not_match(tmp_path, damage, said):
    lines = (DATA / "labels-test.tsv").read_text(encoding="utf-8").splitlines()
    damage(lines)
    (tmp_path / LABELS).write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = write_config(tmp_path, data__test=LABELS)
    outcome = train("--config", config, "--out", tmp_path / "run")
    refused(outcome, re.escape(str(tmp_path / LABELS)) + said)
    assert left(tmp_path / "run") == []


def test_labels_that_do_not_match_leave_an_old_artifact(tmp_path, tmp_path_factory):
    folder = tmp_path / "run"
    shutil.copytree(trained(tmp_path_factory)[0], folder)
    before = topiccore.load(folder / "artifact").id
    files = left(folder)
    (tmp_path / LABELS).write_text("id\tsha256_8\tcount\tlabels\nmq:1\t0\t1\t-\n", encoding="utf-8")
    config = write_config(tmp_path, data__train=LABELS)
    outcome = train("--config", config, "--out", folder)
    refused(outcome, rf"{LABELS}:2: id mq:1 has checksum 0, ")
    assert topiccore.load(folder / "artifact").id == before
    assert left(folder) == files


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"student__epochs": 0}, r"config\.toml: student\.epochs is 0, not between 1 and 1000"),
        ({"thresholds__precision": "high"}, r"config\.toml: thresholds\.precision is 'high', not"),
        ({"data__taxonomy": "none.tsv"}, r"none\.tsv: No such file or directory"),
        ({"annotations__file": "none.zip"}, r"none\.zip: No such file or directory"),
        ({"vectors__min_count": 1_000_000}, r"vectors\.min_count is 1000000, but no word of the"),
    ],
)
def test_bad_settings(tmp_path, changes, said):
    config = write_config(tmp_path, **changes)
    outcome = train("--config", config, "--out", tmp_path / "run")
    refused(outcome, said)
    assert left(tmp_path / "run") in ([], ["stages.json"])


def test_missing_settings(tmp_path):
    outcome = train("--config", tmp_path / "none.toml", "--out", tmp_path / "run")
    refused(outcome, r"none\.toml: No such file or directory")


def test_stage_without_the_one_before(tmp_path):
    outcome = train("evaluate", "--config", write_config(tmp_path), "--out", tmp_path / "run")
    refused(outcome, "the stage export is missing or out of date there; run 'topiccore train")
    assert left(tmp_path / "run") == []


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    outcome = train("--config", write_config(tmp_path), "--out", tmp_path / "file" / "run")
    refused(outcome, f"cannot write {tmp_path / 'file' / 'run'}.*: Not a directory")


def test_unknown_stage():
    outcome = train("everything")
    assert outcome.returncode == 2
    assert "invalid choice: 'everything'" in outcome.stderr


def test_without_the_training_packages(tmp_path):
    code = (
        "import sys\n"
        "sys.modules['gensim'] = None  # as if it were not installed\n"
        "from topiccore.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", code, "train", "--out", str(tmp_path / "run")]
    outcome = subprocess.run(command, capture_output=True, text=True)
    refused(
        outcome, r"'topiccore train' needs the package gensim.*: pip install 'topiccore\[train\]'"
    )
    assert left(tmp_path / "run") == []
