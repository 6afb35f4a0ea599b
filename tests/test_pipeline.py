"""Runs on real queries: one seed one artifact, each stage alone, nothing stale, nothing twice."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from training_support import DATA, open_run, quiet, trained, write_config

import topiccore
from topiccore import ArtifactError
from training.config import DEFAULT, read_config
from training.dataset import data_sums
from training.errors import DataError, TrainingError
from training.pipeline import is_current, run_all, run_one
from training.quality import measure, quality_table
from training.stages import STAGES, trained_artifact

NAMES = ["collections", "vectors", "student", "thresholds", "export", "report", "evaluate"]


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The run that the tests share: (folder, configuration)."""
    folder, config, _ = trained(tmp_path_factory)
    return folder, config


@pytest.fixture
def copied(first, tmp_path):
    """A copy of that run to change: (folder, configuration)."""
    folder, config = first
    shutil.copytree(folder, tmp_path / "run")
    (tmp_path / "labels-train.tsv").symlink_to(config.parent / "labels-train.tsv")
    shutil.copy(config, tmp_path / "config.toml")
    return tmp_path / "run", tmp_path / "config.toml"


def identity(folder: Path) -> str:
    return json.loads((folder / "artifact" / "manifest.json").read_text(encoding="utf-8"))["id"]


def ran(lines: list[str]) -> list[str]:
    """The stages that ran, by their reports, ``evaluate`` left out as it tells nothing."""
    skipped = [line.split(":")[0] for line in lines if line.endswith(": up to date")]
    return [name for name in NAMES[:-1] if name not in skipped]


def run_again(folder: Path, config: Path, **options) -> tuple[list[str], list[str]]:
    """(reported lines, shown tables) of a whole run in that folder."""
    lines: list[str] = []
    tables: list[str] = []
    run_all(open_run(folder, config, lines.append, tables.append), **options)
    return lines, tables


# --- one whole run -----------------------------------------------------------------------------


def test_stages_are_the_known_ones():
    assert [stage.name for stage in STAGES] == NAMES
    assert all(stage.help.strip() for stage in STAGES)


def test_folder_of_a_run(first):
    folder, _ = first
    found = sorted(str(file.relative_to(folder)) for file in folder.iterdir())
    assert found == sorted(
        [
            *("artifact", "evaluation.json", "report.html", "report.json", "stages.json"),
            *("student.npz", "thresholds.npz", "vectors.npz"),
        ]
    )


def test_the_estimator_has_the_settings(tmp_path, first):
    run = open_run(first[0], write_config(tmp_path, seed=3, student__l2=0.7))
    settings = run.config.student
    found = run.estimator().get_params()
    assert callable(found.pop("report"))
    assert found == {
        **{name: getattr(settings, name) for name in ("epochs", "batch", "l2", "smoothing")},
        "learning_rate": settings.learning_rate,
        "dense_learning_rate": settings.vector_learning_rate,
        "dense_features": run.config.vectors.dimensions + 50,  # word2vec and GloVe
        "seed": 3,
    }


def test_artifact_tells_where_it_comes_from(first):
    folder, config = first
    run = open_run(folder, config)
    model = topiccore.load(folder / "artifact")
    assert len(model.taxonomy) == 356
    artifact = model.artifact
    assert artifact.training["seed"] == read_config(config).seed
    for section in ("vectors", "words", "annotations", "student", "thresholds"):
        assert artifact.training["settings"][section] == read_config(config).section(section)
    assert artifact.data["sha256"] == data_sums(read_config(config))
    held_out = len(run.data.validation)
    assert artifact.data["labelled_queries"] == len(run.data.train)
    assert artifact.data["validation_queries"] == held_out > 2000
    assert artifact.data["examples"] == len(run.examples) == len(run.data.train)
    assert 12_000 - held_out < len(run.data.train) < 12_000
    never = [
        label.code
        for label, value in zip(model.taxonomy, artifact.thresholds, strict=True)
        if value == np.inf
    ]
    assert artifact.training["labels_never_emitted"] == never
    expected = artifact.training["expected"]
    assert expected["queries"] == len(run.data.validation)
    assert 0.2 < expected["coverage"] < 1
    assert 0 < expected["unknown_tokens"] < 0.2
    assert list(expected["labels"]) == [label.code for label in model.taxonomy]
    topics = [expected["labels"][topic.code] for topic in model.taxonomy.topics]
    assert max(topics) < expected["coverage"] <= sum(topics) + 1e-3
    assert {expected["labels"][code] for code in never} <= {0.0, *topics}
    assert 0 < len(never) < 356
    assert artifact.training["quality"] == measure(model, run.data.test)


def test_evaluation_is_of_the_artifact(first):
    folder, _ = first
    evaluation = json.loads((folder / "evaluation.json").read_text())
    assert evaluation.pop("model") == identity(folder)
    assert evaluation == measure(topiccore.load(folder / "artifact"), open_run(*first).data.test)
    assert evaluation["queries"] == 999
    for view in ("all labels", "topics", "subtopics"):
        for weighting in ("queries", "traffic"):
            figures = evaluation[view][weighting]
            assert all(0 <= figures[name] <= 1 for name in ("precision", "coverage"))
            assert 0 < figures["coverage_at_90"] < 1
            assert figures["coverage"] <= figures["labels"]
    assert evaluation["all labels"]["queries"]["coverage"] > 0.2


def test_quality_table_shows_the_figures(first):
    folder, _ = first
    figures = json.loads((folder / "evaluation.json").read_text())
    table = quality_table(figures)
    assert "999 test queries" in table
    for view in ("all labels", "topics", "subtopics"):
        line = next(line for line in table.splitlines() if line.startswith(view))
        for figure in ("precision", "coverage", "coverage_at_90"):
            once, traffic = (figures[view][name][figure] for name in ("queries", "traffic"))
            assert f"{once:.1%} | {traffic:.1%}" in line


def test_quality_table_has_no_precision_of_nothing():
    some = {"precision": 0.912, "coverage": 0.5, "labels": 1.0, "coverage_at_90": 0.4}
    nothing = {"precision": 1.0, "coverage": 0.0, "labels": 0.0, "coverage_at_90": 0.4}
    table = quality_table(
        {
            "queries": 10,
            "calibration_error": 0.01,
            "all labels": {"queries": some, "traffic": some},
            "topics": {"queries": some, "traffic": nothing},
            "subtopics": {"queries": nothing, "traffic": nothing},
        }
    )
    rows = {line.split("  ")[0]: line for line in table.splitlines()}
    assert "91.2% | 91.2%" in rows["all labels"]
    assert "91.2% | -" in rows["topics"]
    assert "- | -" in rows["subtopics"]
    assert "0.0% | 0.0%" in rows["subtopics"]
    assert "100.0%" not in table


def test_thresholds_keep_their_precision_on_the_validation_queries(first):
    folder, config = first
    run = open_run(folder, config)
    stored = run.folder.load_arrays("thresholds")
    taxonomy, validation = run.data.taxonomy, run.data.validation
    model = topiccore.TopicModel(trained_artifact(run, stored))
    emitted = np.zeros(validation.gold.shape, bool)
    for row, answer in enumerate(model.score_batch(validation.texts)):
        emitted[row, [taxonomy.index_of(label.code) for label in answer]] = True
    right = (emitted & validation.gold).sum() / emitted.sum()
    assert right >= read_config(config).thresholds.precision


def test_validation_and_test_queries_are_not_learned_from(first):
    run = open_run(*first)
    data = run.data
    held_out = {*data.validation.texts, *data.test.texts}
    assert held_out.isdisjoint(run.examples.texts)
    assert held_out.isdisjoint(data.pool)


def test_annotated_examples_of_the_shipped_file(tmp_path, first):
    config = write_config(
        tmp_path,
        annotations__file=str(DATA / "annotations.zip"),
        annotations__labelled=0.5,
        annotations__words=0.5,
        annotations__glove=0.25,
    )
    run = open_run(tmp_path / "run", config)
    examples, train = run.examples, run.data.train
    assert len(examples) > 100_000
    assert examples.texts[: len(train)] == train.texts
    assert {*run.data.validation.texts, *run.data.test.texts}.isdisjoint(examples.texts)
    targets = examples.targets[: len(train)].toarray()
    # Half of a gold label's target is the label, the other half the teacher's.
    assert (targets[train.gold] >= 0.5).all()
    assert (targets[~train.gold] <= 0.5).all()
    assert set(np.unique(examples.weights).tolist()) == {0.25, 0.5, 1.0}
    assert examples.targets.max() <= 1
    assert examples.targets.min() >= 0


# --- one seed, one artifact; each stage alone ----------------------------------------------------


@pytest.fixture(scope="module")
def by_stages(first, tmp_path_factory):
    """The same settings in another folder, one stage after the other, each by itself."""
    folder = tmp_path_factory.mktemp("stages") / "run"
    shown: list[str] = []
    for name in NAMES:
        run_one(open_run(folder, first[1], show=shown.append), name)
    return folder, shown


def test_each_stage_alone_and_the_same_seed_give_the_same_artifact(first, by_stages):
    folder, _ = by_stages
    assert identity(folder) == identity(first[0])
    for name in ("manifest.json", "rows.npy", "keys.npy", "thresholds.npy", "slopes.npy"):
        first_bytes = (first[0] / "artifact" / name).read_bytes()
        assert (folder / "artifact" / name).read_bytes() == first_bytes


def test_the_last_stage_shows_the_table(first, by_stages):
    assert by_stages[1] == [quality_table(json.loads((first[0] / "evaluation.json").read_text()))]


def test_stages_run_alone_are_up_to_date_for_a_whole_run(first, by_stages):
    lines, tables = run_again(by_stages[0], first[1])
    assert ran(lines) == []
    assert len(tables) == 1


def test_another_seed_gives_another_artifact(first, copied):
    folder, _ = copied
    config = write_config(folder.parent, seed=8)
    lines, _ = run_again(folder, config)
    assert ran(lines) == NAMES[:-1]
    assert identity(folder) != identity(first[0])
    for name in ("rows.npy", "slopes.npy"):
        first_bytes = (first[0] / "artifact" / name).read_bytes()
        assert (folder / "artifact" / name).read_bytes() != first_bytes


# --- what is run again -------------------------------------------------------------------------


def test_nothing_is_run_twice(first, copied):
    folder, config = copied
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*.np?")}
    lines, tables = run_again(folder, config)
    assert lines == [f"{name}: up to date" for name in NAMES[:-1]]
    assert tables == [quality_table(json.loads((first[0] / "evaluation.json").read_text()))]
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*.np?")} == before


def test_a_changed_setting_runs_only_what_hangs_on_it(first, copied):
    folder, _ = copied
    before = identity(folder)
    config = write_config(folder.parent, thresholds__min_support=30)
    lines, _ = run_again(folder, config)
    assert ran(lines) == ["thresholds", "export", "report"]
    assert identity(folder) != before
    # The one before is kept, and the report compares the two.
    assert topiccore.load(folder / "previous").id == before
    comparison = json.loads((folder / "report.json").read_text(encoding="utf-8"))["comparison"]
    assert comparison["previous"] == before
    assert comparison["changed"] == len(comparison["queries"]) > 0
    declared = {name.split("/")[0] for s in STAGES for name in (*s.files, *s.kept)}
    assert {file.name for file in folder.iterdir()} == declared | {"stages.json"}
    # Changed back, it is the old artifact again.
    changed = identity(folder)
    run_again(folder, write_config(folder.parent))
    assert identity(folder) == before
    assert topiccore.load(folder / "previous").id == changed


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"vectors__window": 4}, NAMES[1:-1]),
        ({"student__l2": 0.2}, ["student", "thresholds", "export"]),
        ({"words__glove_words": 100}, ["student", "thresholds", "export"]),
        ({"annotations__logged": 0.5}, ["student", "thresholds", "export"]),
        ({"thresholds__precision": 0.8}, ["thresholds", "export"]),
        ({"seed": 1}, NAMES[:-1]),
    ],
)
def test_which_stages_hang_on_a_setting(copied, changes, expected):
    folder, _ = copied
    run = open_run(folder, write_config(folder.parent, **changes))
    assert [s.name for s in STAGES if not is_current(run, s)] == [
        *(name for name in expected if name != "report"),
        "report",
        "evaluate",
    ]


def test_changed_labels_make_every_stage_stale(copied):
    folder, config = copied
    labels = folder.parent / "labels-train.tsv"
    content = labels.read_text(encoding="utf-8")
    labels.unlink()
    labels.write_text(content[: content[:-1].rindex("\n") + 1], encoding="utf-8")
    run = open_run(folder, config)
    assert [stage.name for stage in STAGES if is_current(run, stage)] == []


@pytest.mark.parametrize("name", ["vectors", "student"])
def test_a_lost_file_is_made_again(copied, name):
    folder, config = copied
    expected = (folder / f"{name}.npz").read_bytes()
    (folder / f"{name}.npz").unlink()
    before = identity(folder)
    lines, _ = run_again(folder, config)
    assert ran(lines) == [name]
    assert identity(folder) == before
    assert len((folder / f"{name}.npz").read_bytes()) == len(expected)


def test_lost_notes_run_every_stage(copied):
    folder, config = copied
    (folder / "stages.json").write_text("{", encoding="utf-8")
    run = open_run(folder, config)
    assert [stage.name for stage in STAGES if is_current(run, stage)] == []


def test_edited_code_makes_every_stage_stale(copied, monkeypatch):
    folder, config = copied
    run = open_run(folder, config)
    assert all(is_current(run, stage) for stage in STAGES)
    monkeypatch.setattr("training.pipeline._sources", lambda: ["edited"])
    assert not any(is_current(run, stage) for stage in STAGES)


# --- stale, failing, damaged -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "missing"),
    [
        ("student", "vectors"),
        ("thresholds", "student"),
        ("export", "student"),
        ("evaluate", "export"),
    ],
)
def test_a_stage_without_what_it_reads_is_refused(tmp_path, first, stage, missing):
    run = open_run(tmp_path / "run", first[1])
    with pytest.raises(TrainingError) as caught:
        run_one(run, stage)
    assert str(caught.value) == (
        f"{tmp_path / 'run'}: the stage {missing} is missing or out of date there; "
        f"run 'topiccore train {missing}' first, or 'topiccore train' for all"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("stage", "changes", "stale"),
    [
        ("student", {"vectors__window": 4}, "vectors"),
        ("thresholds", {"student__l2": 0.2}, "student"),
        ("export", {"student__l2": 0.2}, "student"),
        ("export", {"thresholds__confidence": 0.8}, "thresholds"),
        ("evaluate", {"seed": 1}, "export"),
    ],
)
def test_a_stage_after_a_stale_one_is_refused(copied, stage, changes, stale):
    folder, _ = copied
    before = identity(folder)
    run = open_run(folder, write_config(folder.parent, **changes))
    with pytest.raises(TrainingError, match=f"the stage {stale} is missing or out of date"):
        run_one(run, stage)
    assert identity(folder) == before


def test_an_interrupted_stage_is_not_up_to_date(copied, monkeypatch):
    folder, config = copied

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("training.stages.choose_thresholds", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_one(open_run(folder, config), "thresholds")
    monkeypatch.undo()
    run = open_run(folder, config)
    assert [s.name for s in STAGES if not is_current(run, s)] == ["thresholds"]
    assert not [file for file in folder.rglob("*") if "partial" in file.name]


def test_a_failing_export_leaves_the_old_artifact(copied, monkeypatch):
    folder, config = copied
    before = identity(folder)

    def failing(*_):
        raise TrainingError("no")

    monkeypatch.setattr("training.stages.measure", failing)
    with pytest.raises(TrainingError):
        run_one(open_run(folder, config), "export")
    assert identity(folder) == before
    assert topiccore.load(folder / "artifact").id == before
    assert [file.name for file in folder.iterdir() if file.name.startswith(".")] == []


def test_a_damaged_file_is_told(copied):
    folder, config = copied
    file = folder / "student.npz"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"student\.npz: .*topiccore train --again"):
        run_one(open_run(folder, config), "export")


def test_a_damaged_artifact_is_told(copied):
    folder, config = copied
    rows = folder / "artifact" / "rows.npy"
    rows.write_bytes(rows.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=r"rows\.npy: "):
        run_one(open_run(folder, config), "evaluate")


def test_a_missing_labels_file_is_told(tmp_path):
    config = write_config(tmp_path, data__test="missing.tsv")
    for start in (run_all, lambda run: run_one(run, "collections")):
        with pytest.raises(DataError, match=r"missing\.tsv: No such file or directory"):
            start(open_run(tmp_path / "run", config))
    assert not (tmp_path / "run").exists()


def test_shipped_settings_have_every_stage_stale_in_an_empty_folder(tmp_path):
    run = open_run(tmp_path, DEFAULT, quiet)
    assert not any(is_current(run, stage) for stage in STAGES)
