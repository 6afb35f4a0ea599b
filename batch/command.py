"""``topiccore batch``: files of queries in, files of topics out."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from batch import formats, summary
from batch.errors import BatchError
from batch.inputs import find_inputs
from batch.outputs import make_plan, place_of_summary
from batch.readers import ReadOptions
from batch.run import Settings, score_files
from batch.scoring import Options, Scorer
from topiccore.argument_types import natural, positive, share
from topiccore.cli import Command
from topiccore.cpus import allowed_cpus
from topiccore.model import default_model, load

_EPILOG = """\
examples:
  topiccore batch log.parquet -o topics.parquet --keep-all
  topiccore batch 'logs/*.csv.gz' -o topics.jsonl --text-column q --keep time,user
  topiccore batch s3://bucket/logs/ -o s3://bucket/topics/ --summary summary.json

The result is one more column, the labels of a query, best first: in Parquet
list<struct<code: string, score: double>>, in JSON lines
"topics": [{"code": "VE", "score": 0.99}], in TSV VE:0.99,VE02:0.96.

A run into a folder that was interrupted goes on where it stopped when the same
command is given again; a run into one file begins anew.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``topiccore batch``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument(
        "input",
        nargs="+",
        help="files, globs, folders, URLs (s3:// needs the package s3fs, gs:// gcsfs); - is "
        "standard input",
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        help="a name with a known ending is one file for all rows; - is standard output; any other "
        "is a folder with a file for each input",
    )
    parser.add_argument(
        "--model",
        type=Path,
        metavar="DIR",
        default=default_model(),
        help="artifact directory (default: %(default)s)",
    )
    files = parser.add_argument_group("files")
    files.add_argument(
        "--from",
        dest="source",
        metavar="FORMAT",
        help="parquet, csv, tsv, jsonl or txt, all but parquet with .gz or .zst behind "
        "(default: by the ending of each name; txt for standard input)",
    )
    files.add_argument(
        "--to",
        metavar="FORMAT",
        help="of files in a folder (default: parquet) and of standard output (default: jsonl): "
        "parquet, jsonl or tsv, the latter two also with .gz or .zst behind",
    )
    files.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    columns = parser.add_argument_group("columns")
    columns.add_argument(
        "--text-column",
        metavar="NAME",
        help="holds the queries (default: query, or else the only column of text)",
    )
    columns.add_argument(
        "--no-header",
        action="store_true",
        help="the first line of CSV and TSV is a row; columns are f0, f1, ...",
    )
    kept = columns.add_mutually_exclusive_group()
    kept.add_argument("--keep", metavar="NAMES", help="input columns to keep, with commas between")
    kept.add_argument("--keep-all", action="store_true", help="keep all input columns")
    columns.add_argument(
        "--result-column",
        default="topics",
        metavar="NAME",
        help="name of the result (default: topics)",
    )
    emitted = parser.add_argument_group("labels")
    emitted.add_argument(
        "--min-score",
        type=share,
        metavar="S",
        help="emit labels with at least this score, 0 to 1, instead of using the thresholds",
    )
    emitted.add_argument("--max-labels", type=natural, metavar="N", help="at most so many a row")
    emitted.add_argument("--topics-only", action="store_true", help="no subtopics")
    run_options = parser.add_argument_group("run")
    run_options.add_argument(
        "--threads",
        type=positive,
        default=allowed_cpus(),
        metavar="N",
        help="score with N threads (default: as many as there are cores, %(default)s)",
    )
    shown = run_options.add_mutually_exclusive_group()
    shown.add_argument(
        "--progress",
        action="store_true",
        help="report progress even when standard error is no terminal (a line every 10 s)",
    )
    shown.add_argument("--quiet", action="store_true", help="report neither progress nor summary")
    run_options.add_argument("--summary", metavar="FILE", help="write the summary as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Scores; raises ``TopiccoreError`` for what cannot be read, scored or written."""
    _check_names(arguments)
    given = formats.chosen(arguments.source, output=False) if arguments.source else None
    inputs = find_inputs(arguments.input, given)
    plan = make_plan(inputs, arguments.output, arguments.to)
    report = place_of_summary(arguments.summary, plan, arguments.overwrite)
    scorer = Scorer(
        load(arguments.model),
        Options(arguments.min_score, arguments.max_labels, arguments.topics_only),
    )
    keep = None if arguments.keep_all else (arguments.keep or "").split(",")
    settings = Settings(
        read=ReadOptions(
            arguments.text_column, () if keep == [""] else keep, not arguments.no_header
        ),
        result_column=arguments.result_column,
        threads=arguments.threads,
        overwrite=arguments.overwrite,
        progress=not arguments.quiet and (arguments.progress or _on_terminal()),
    )
    start = time.perf_counter()
    with _terminable():
        if report is not None:
            # Found out now, not when all is scored.
            report.check_creation()
        outcome = score_files(plan, scorer, settings)
    told = scorer.model, outcome.counts, time.perf_counter() - start, outcome.scored_now
    if report is not None:
        with report.create() as stream:
            stream.write(json.dumps(summary.as_json(*told), indent=2).encode() + b"\n")
    if not arguments.quiet and sys.stderr is not None:
        print(summary.as_text(*told), file=sys.stderr)
    return 0


def _on_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _check_names(arguments: argparse.Namespace) -> None:
    for option in ("text_column", "keep", "result_column"):
        name = getattr(arguments, option) or ""
        try:
            name.encode()
        except UnicodeEncodeError as error:
            flag = option.replace("_", "-")
            raise BatchError(f"--{flag} {name!r} is not UTF-8") from error


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM and SIGHUP leave as an exception would: no half-written file stays."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {}
    try:
        for number in (signal.SIGTERM, signal.SIGHUP):
            # nohup ignores the hangup.
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, leave)
    except ValueError:  # not the main thread, where no signal arrives
        pass
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


COMMAND = Command("batch", "Write the topics of files of queries.", configure, run)
