"""Runs stages in order and skips those whose files are up to date."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from topiccore.reference import SCHEME
from training.dataset import data_sums
from training.errors import TrainingError
from training.packages import file_sha256
from training.run_folder import key_from
from training.stages import STAGES, Run, Stage, stages_before


def run_all(run: Run, *, again: bool = False) -> None:
    """Every stage whose inputs changed since it last finished; ``again``: every stage."""
    for stage in STAGES:
        if again or not is_current(run, stage):
            _run(run, stage)
        elif stage.name == "evaluate":
            # What people came for; it costs a second.
            _run(run, stage)
        else:
            run.report(f"{stage.name}: up to date")


def run_one(run: Run, name: str) -> None:
    """One stage, whether or not it is up to date.

    Raises ``TrainingError`` when a stage that it reads from is missing or out of date.
    """
    stage = next(stage for stage in STAGES if stage.name == name)
    for other in stages_before(stage):
        if other.files and not is_current(run, other):
            raise TrainingError(
                f"{run.folder.path}: the stage {other.name} is missing or out of date there; "
                f"run 'topiccore train {other.name}' first, or 'topiccore train' for all"
            )
    _run(run, stage)


def _run(run: Run, stage: Stage) -> None:
    run.folder.begin(stage.name)
    stage.run(run)
    run.folder.finish(stage.name, _key(run, stage))


def is_current(run: Run, stage: Stage) -> bool:
    """Whether a stage's files are there and were made from what would be used now."""
    return run.folder.key_of(stage.name) == _key(run, stage) and all(
        (run.folder.path / file).exists() for file in stage.files
    )


def _key(run: Run, stage: Stage) -> str:
    return key_from(
        stage.name,
        _sources(),
        run.config.seed,
        data_sums(run.config),
        run.config.data.held_out,
        [_settings(run, name) for name in stage.settings if name != "data"],
        [_key(run, other) for other in stages_before(stage)],
    )


def _settings(run: Run, name: str) -> Any:
    section, _, setting = name.partition(".")
    values = run.config.section(section)
    return values[setting] if setting else values


@cache
def _sources() -> list[str]:
    # The code is an input like any other: an edited stage must not pass for up to date.
    folder = Path(__file__).resolve().parent
    return [SCHEME, *(file_sha256(file) for file in sorted(folder.rglob("*.py")))]
