"""Whether 'topiccore suggest' and 'topiccore doubts' pay: against chance, on the real labels.

    python -m benchmarks.labelling [--write benchmarks/RESULTS.md]

- suggest: a student of few labels chooses which of the other labelled queries to look up; the
  student that has learned them too is measured on the validation queries.
- doubts: a share of the labels is replaced by those of another query; how many of the rows listed
  first are such rows.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import command, description
from benchmarks.results import bullets, write_section
from benchmarks.table import table
from topiccore import TopicModel
from topiccore.artifact import Artifact
from training.calibration import calibrate
from training.collections import default_cache
from training.config import DEFAULT, read_config
from training.doubts import find_doubts, out_of_fold
from training.evaluate import coverage_at_precision, topic_scores
from training.examples import labelled_examples
from training.export import fold
from training.labels import LabelledQueries
from training.run_folder import RunFolder
from training.stages import Run, vectors
from training.student_scores import student_of
from training.suggestions import suggest

FIRST, MORE, POOL = 4000, 2000, 30_000
WRONG, FOLDS = 0.05, 3
SEEDS = (1, 2, 3)


def main() -> int:
    """Measures, prints, and with ``--write`` puts the figures into the results page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--write", type=Path, help="the results page to write a section of")
    chosen = parser.parse_args()
    config = read_config(DEFAULT)
    config = replace(config, annotations=replace(config.annotations, file=""))
    with tempfile.TemporaryDirectory() as scratch:
        run = Run(config, RunFolder(Path(scratch)), default_cache(), print, print)
        vectors(run)
        picked = [by_suggestion(run, seed) for seed in SEEDS]
        found = found_doubts(run)
    report = [
        command("benchmarks.labelling"),
        bullets(description(["scikit-learn", "cleanlab"])),
        table(
            ("labelled queries", "coverage at 90 % precision", "labels with enough examples"),
            [
                (
                    name,
                    " / ".join(f"{values[place][0]:.1%}" for values in picked),
                    " / ".join(str(values[place][1]) for values in picked),
                )
                for place, name in enumerate(
                    (
                        f"{FIRST:,}",
                        f"and {MORE:,} at random",
                        f"and {MORE:,} by suggest",
                    )
                )
            ],
        ),
        table(
            ("rows listed first", "with a label that was made wrong"),
            [(f"{count:,}", f"{share:.1%}") for count, share in found],
        ),
        bullets(
            [
                f"coverage on the validation queries, for seeds {', '.join(map(str, SEEDS))}; "
                f"queries are chosen among {POOL:,}; enough examples: as min_support asks",
                f"{WRONG:.0%} of the labels were made wrong: chance would list {WRONG:.0%}; rows "
                "that were wrong before count as right",
            ]
        ),
    ]
    print("\n\n".join(report))
    if chosen.write:
        write_section(chosen.write, "labelling", "What to label next, what to doubt", report)
    return 0


def by_suggestion(run: Run, seed: int) -> list[tuple[float, int]]:
    """(coverage, labels with enough examples) with the first labels, with as many more at random,
    and by suggestion."""
    train = run.data.train
    order = np.random.default_rng(seed).permutation(len(train))
    first, pool = order[:FIRST], order[FIRST : FIRST + POOL]
    model, base = _measured(run, train.take(first))
    short = train.take(first).gold.sum(axis=0) < run.config.thresholds.min_support
    place = {train.texts[row]: row for row in pool.tolist()}
    texts = suggest(model, list(place), short, MORE, seed)
    by_suggest = np.array([place[item.text] for item in texts])
    figures = [(base, int((~short).sum()))]
    for more in (pool[:MORE], by_suggest):
        chosen = train.take(np.append(first, more))
        enough = chosen.gold.sum(axis=0) >= run.config.thresholds.min_support
        figures.append((_measured(run, chosen)[1], int(enough.sum())))
    print(f"seed {seed}: {figures}", flush=True)
    return figures


def _measured(run: Run, train: LabelledQueries) -> tuple[TopicModel, float]:
    examples = labelled_examples(replace(run.data, train=train))
    estimator = run.learned(examples, quiet=True)
    index, rows = fold(estimator.coef_, run.features)
    labels, words = len(run.data.taxonomy), run.config.words
    plain = Artifact(
        taxonomy=run.data.taxonomy,
        index=index,
        rows=rows,
        bias=np.asarray(estimator.intercept_, np.float32),
        thresholds=np.full(labels, np.inf, np.float32),
        slopes=np.ones(labels, np.float32),
        intercepts=np.zeros(labels, np.float32),
        ngrams=(words.ngram_shortest, words.ngram_longest),
    )
    validation, taxonomy = run.data.validation, run.data.taxonomy
    logits = TopicModel(plain).logits(validation.texts)
    calibration = calibrate(logits, validation.gold, taxonomy)
    raised = topic_scores(calibration.scores(logits, taxonomy), taxonomy)
    model = TopicModel(replace(plain, **calibration.arrays()))
    return model, coverage_at_precision(raised, validation.gold, 0.9).coverage


def found_doubts(run: Run) -> list[tuple[int, float]]:
    """(rows, share of them made wrong) for several lengths of the list."""
    train = run.data.train
    random = np.random.default_rng(SEEDS[0])
    wrong = random.random(len(train)) < WRONG
    gold: NDArray[np.bool_] = train.gold.copy()
    gold[wrong] = gold[random.permutation(len(train))[: wrong.sum()]]
    wrong &= (gold != train.gold).any(axis=1)
    spoiled = replace(train, gold=gold)
    scores = out_of_fold(spoiled, student_of(run), FOLDS, SEEDS[0], print)
    listed = find_doubts(spoiled, scores, run.data.taxonomy, 5000)
    place = {text: row for row, text in enumerate(train.texts)}
    hits = np.array([wrong[place[item.text]] for item in listed])
    lengths = [count for count in (100, 500, 1000) if count < len(hits)]
    return [(count, float(hits[:count].mean())) for count in (*lengths, len(hits))]


if __name__ == "__main__":
    raise SystemExit(main())
