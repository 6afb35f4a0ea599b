"""Time and memory of the student stage by the number of annotated texts, streamed from disk.

    python -m benchmarks.streaming [--sizes 100000 1000000 10000000] [--write benchmarks/RESULTS.md]

The texts are made from the annotated pool: a pool text and what the teacher said of it, with one
change drawn by a seeded generator: a word left out, two neighbours swapped, or the last word of
another text of the same best label put behind.  Every size is trained in a process of its own, one
pass over the texts.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.machine import command, description
from benchmarks.results import bullets, write_section
from benchmarks.table import table
from training.collections import default_cache
from training.config import DEFAULT, Config, read_config
from training.run_folder import RunFolder
from training.stages import Run, student, vectors
from training.stored_examples import ROWS, Batch, write_examples

SIZES = (100_000, 1_000_000, 10_000_000)
SEED = 5


def main() -> int:
    """Measures each size, prints, and with ``--write`` puts the figures into the results page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--write", type=Path, help="the results page to write a section of")
    parser.add_argument("--folder", type=Path, help="where to put the texts (a scratch folder)")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(measure(chosen.child, chosen.folder)))
        return 0
    rows = []
    with tempfile.TemporaryDirectory(dir=chosen.folder) as scratch:
        vectors(_run(_config(None), Path(scratch)))
        for size in chosen.sizes:
            print(f"{size:,} texts", file=sys.stderr, flush=True)
            child = [sys.executable, "-m", "benchmarks.streaming", "--child", str(size)]
            child += ["--folder", scratch]
            done = subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            rows.append(
                (
                    f"{size:,}",
                    f"{found['bytes'] / 1e6:,.0f} MB",
                    f"{found['seconds']:,.0f} s",
                    f"{size / found['seconds']:,.0f}",
                    f"{found['peak'] / 1e9:.2f} GB",
                )
            )
            print(rows[-1], file=sys.stderr, flush=True)
    report = [
        bullets([f"command: `{command('benchmarks.streaming')}`", *description(["scikit-learn"])]),
        table(("annotated texts", "on disk", "student stage", "texts/s", "peak memory"), rows),
        bullets(
            [
                "the whole stage: vocabulary, counts, one pass of learning, folding; one epoch",
                f"{rows[0][0]} texts are changed pool texts, as benchmarks/streaming.py says",
            ]
        ),
    ]
    print("\n\n".join(report))
    if chosen.write:
        write_section(chosen.write, "streaming", "Training from disk", report)
    return 0


def _config(texts: Path | None) -> Config:
    config = read_config(DEFAULT)
    annotations = replace(config.annotations, texts=str(texts) if texts else "")
    if texts:
        annotations = replace(annotations, file="")
    return replace(config, annotations=annotations, student=replace(config.student, epochs=1))


def _run(config: Config, folder: Path) -> Run:
    say = lambda line: print(line, file=sys.stderr, flush=True)  # noqa: E731
    return Run(config, RunFolder(folder), default_cache(), say, say)


def measure(size: int, folder: Path) -> dict[str, float]:
    """Seconds, peak bytes of memory and bytes on disk of one size."""
    path = folder / f"texts-{size}.parquet"
    if not path.exists():
        # In a process of its own, so that its memory does not count.
        subprocess.run([sys.executable, "-c", _MAKE, str(size), str(folder), str(path)], check=True)
    run = _run(_config(path), folder)
    start = time.monotonic()
    student(run)
    return {
        "seconds": time.monotonic() - start,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "bytes": path.stat().st_size,
    }


_MAKE = (
    "import sys; from pathlib import Path; from benchmarks.streaming import make; "
    "make(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))"
)


def make(size: int, folder: Path, path: Path) -> None:
    """Writes ``size`` made-up annotated texts."""
    run = _run(_config(None), folder)
    examples, codes = run.examples, [label.code for label in run.data.taxonomy]
    write_examples(path, _changed(examples.texts, examples.targets, size), codes)


def _changed(texts: list[str], targets, size: int) -> Iterator[Batch]:  # type: ignore[no-untyped-def]
    random = np.random.default_rng(SEED)
    best = np.asarray(targets.argmax(axis=1)).ravel()
    by_best = {label: np.flatnonzero(best == label) for label in np.unique(best).tolist()}
    words = [text.split() for text in texts]
    for start in range(0, size, ROWS):
        rows = random.integers(0, len(texts), min(ROWS, size - start))
        kinds = random.integers(0, 3, len(rows))
        made = []
        for row, kind in zip(rows.tolist(), kinds.tolist(), strict=True):
            own = words[row].copy()
            if kind == 0 and len(own) > 1:
                del own[random.integers(len(own))]
            elif kind == 1 and len(own) > 1:
                place = random.integers(len(own) - 1)
                own[place], own[place + 1] = own[place + 1], own[place]
            else:
                others = by_best[int(best[row])]
                own.append(words[others[random.integers(len(others))]][-1])
            made.append(" ".join(own))
        yield made, targets[rows]


if __name__ == "__main__":
    raise SystemExit(main())
