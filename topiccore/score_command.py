"""``topiccore score``: queries from the arguments or from standard input, answers as lines."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from topiccore._scoring import MAX_QUERY_BYTES, Answer
from topiccore.argument_types import natural, share
from topiccore.cli import Command
from topiccore.errors import TopiccoreError
from topiccore.model import TopicModel, default_model, load


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``topiccore score``."""
    parser.add_argument("query", nargs="*", help="queries; none: one per line of standard input")
    parser.add_argument(
        "--model",
        type=Path,
        default=default_model(),
        help="artifact directory (default: %(default)s)",
    )
    parser.add_argument(
        "--min-score",
        type=share,
        metavar="S",
        help="emit labels with at least this score, 0 to 1, instead of using the thresholds",
    )
    parser.add_argument(
        "--max-labels", type=natural, metavar="N", help="at most so many labels per query"
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print one JSON object per query")
    output.add_argument(
        "--explain", action="store_true", help="print what each feature adds to each label's logit"
    )


def run(arguments: argparse.Namespace) -> int:
    """Scores and prints; a bad line is reported on standard error and makes the exit code 1."""
    model = load(arguments.model)
    failed = False
    for place, query in _queries(arguments.query):
        try:
            answer = model.score(
                query, min_score=arguments.min_score, max_labels=arguments.max_labels
            )
            text = query if isinstance(query, str) else query.decode("utf-8", "replace")
            if arguments.json:
                print(_as_json(text, answer))
            elif arguments.explain:
                print(_explained(text, model, [label.code for label in answer]))
            else:
                print(_as_text(text, answer, model))
        except TopiccoreError as error:
            failed = True
            print(f"topiccore: error: {place}: {error}", file=sys.stderr)
            if arguments.json:
                print(json.dumps({"error": f"{place}: {error}"}))
    return 1 if failed else 0


def _queries(given: list[str]) -> Iterator[tuple[str, str | bytes]]:
    if given:
        for number, query in enumerate(given, start=1):
            yield f"query {number}", query
        return
    # Bytes, so that a line that is not UTF-8 is scored like any other.
    for number, line in enumerate(sys.stdin.buffer, start=1):
        yield f"standard input, line {number}", line.rstrip(b"\r\n")


def _as_json(query: str, answer: Answer) -> str:
    topics = [
        {"code": label.code, "name": label.name, "score": round(label.score, 4)} for label in answer
    ]
    return json.dumps({"query": query, "topics": topics, "truncated": answer.truncated})


def _as_text(query: str, answer: Answer, model: TopicModel) -> str:
    lines = [_printable(query)]
    lines += [
        f"  {label.score:6.1%}  {label.code:<6}{model.taxonomy.full_name(label.code)}"
        for label in answer
    ]
    if not answer:
        lines.append("  (no label reaches its threshold)")
    if answer.truncated:
        lines.append("  (long query: only its first tokens were scored)")
    return "\n".join(lines)


def _explained(query: str, model: TopicModel, codes: list[str]) -> str:
    lines = [_printable(query)]
    for item in model.explain(query, codes):
        lines.append(
            f"  {item.score:6.1%}  {item.code:<6}{model.taxonomy.full_name(item.code)}: "
            f"logit {item.context_logit:+.3f}, threshold {item.threshold:+.3f}"
        )
        lines += [f"    {share.share:+8.3f}  {share.text}" for share in item.shares]
        lines.append(f"    {item.bias:+8.3f}  (bias)")
        lines += [f"    {share.share:+8.3f}  ({share.text})" for share in item.context]
        if item.unknown:
            lines.append(f"    unknown: {' '.join(item.unknown)}")
    if not codes:
        lines.append("  (no label reaches its threshold)")
    return "\n".join(lines)


def _printable(query: str) -> str:
    # Control characters in a query must not steer the reader's terminal.
    shown = query if len(query) <= 200 else query[:200] + "..."
    return "".join(c if c.isprintable() else "\ufffd" for c in shown)


COMMAND = Command(
    "score",
    f"Print the topics of queries with their scores (at most {MAX_QUERY_BYTES} bytes each).",
    configure,
    run,
)
