"""What each source of annotated texts adds: students of the labels and that source.

    python -m benchmarks.pool_sources [--sources words bigrams ...] [--write benchmarks/RESULTS.md]

Every student learns the labelled queries, with the teacher's share in their targets, and, but for
the first, the texts of one source.  All take as many steps, so that those with more texts do not
learn for longer, and all are measured in the same way on the validation queries: calibrated on four
fifths, scored on the rest.  The test queries are not looked at.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.collection import tell
from benchmarks.machine import command, description
from benchmarks.results import bullets, write_section
from benchmarks.table import table
from training.calibration import cross_fitted_scores
from training.collections import default_cache
from training.config import DEFAULT, Config, read_config
from training.context import beside_best
from training.evaluate import coverage_at_precision, topic_scores, views
from training.run_folder import RunFolder
from training.stages import Run, vectors
from training.teacher_config import PoolConfig

SOURCES = tuple(field.name for field in fields(PoolConfig))
STEPS = 1_000_000
"""Texts that each student takes in, over all its passes."""
LEAST = 1e-6


def main() -> int:
    """Measures each source, prints, and with ``--write`` puts the figures into the results page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=SOURCES, metavar="SOURCE")
    parser.add_argument("--write", type=Path, help="the results page to write a section of")
    chosen = parser.parse_args()
    config = read_config(DEFAULT)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        vectors(_run(config, folder))
        for source in (None, *chosen.sources):
            tell(f"labels and {source}" if source else "labels")
            rows.append((source or "(labels)", *measure(_with(config, source), folder)))
            tell(" | ".join(rows[-1]))
    report = [
        bullets([f"command: `{command('benchmarks.pool_sources')}`", *description(())]),
        table(
            ("source", "texts", "log loss, topics", "subtopics", "best topic right", "coverage"),
            rows,
        ),
        bullets(
            [
                "students of the labels and one source, on the validation queries: log loss for "
                "each query over all labels of the level; coverage at 90 % precision by a single "
                "cut, all labels / topics / subtopics",
                f"every student takes in {STEPS:,} texts, over as many passes as that makes; not "
                "pruned",
            ]
        ),
    ]
    print("\n\n".join(report))
    if chosen.write:
        write_section(chosen.write, "sources", "What each source of texts adds", report)
    return 0


def _with(config: Config, source: str | None) -> Config:
    weights: dict[str, Any] = {name: 1.0 if name == source else 0.0 for name in SOURCES}
    return replace(config, annotations=replace(config.annotations, **weights))


def _run(config: Config, folder: Path) -> Run:
    return Run(config, RunFolder(folder), default_cache(), lambda line: None, lambda line: None)


def measure(config: Config, folder: Path) -> tuple[str, str, str, str, str]:
    """A student's figures, as text: texts, log losses, best topics, coverage."""
    run = _run(config, folder)
    texts = len(run.examples)
    passes = max(1, round(STEPS / texts))
    run.config = replace(config, student=replace(config.student, epochs=passes))
    taxonomy, validation = run.data.taxonomy, run.data.validation
    learned = run.learned(run.examples, quiet=True)
    logits = learned.logits(*run.features.transform(validation.texts))
    scores = cross_fitted_scores(logits, validation.gold, taxonomy, config.seed)
    safe = np.clip(scores.astype(float), LEAST, 1 - LEAST)
    losses = -np.where(validation.gold, np.log(safe), np.log1p(-safe))
    topics = taxonomy.parents < 0
    best = ~beside_best(logits, taxonomy) & topics
    right = (best & validation.gold).any(axis=1).mean()
    raised = topic_scores(scores, taxonomy)
    coverage = [
        coverage_at_precision(raised[:, part], validation.gold[:, part]).coverage
        for _, part in views(taxonomy)
    ]
    return (
        f"{texts - len(run.data.train):,}",
        f"{losses[:, topics].sum(axis=1).mean():.3f}",
        f"{losses[:, ~topics].sum(axis=1).mean():.3f}",
        f"{right:.1%}",
        " / ".join(f"{100 * part:.1f}" for part in coverage),
    )


if __name__ == "__main__":
    raise SystemExit(main())
