"""``topiccore registry``: versions of the model, what is live, what was, and why."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from registry import channels, description, layout, printing
from registry.canary import Canary
from registry.collect import collect
from registry.errors import RegistryError
from registry.gates import Limits
from registry.people import Author, author
from registry.promote import GatesFailedError, promote
from registry.push import push
from registry.queries import QuerySource, read_queries
from registry.store import Registry
from topiccore.cli import Command

VARIABLE = "TOPICCORE_REGISTRY"
NONE = "none"
"""What ``--expect`` calls a channel without a version."""
_EXIT_CODES = "Exit codes: 0 done, 1 error, 2 usage, 3 changed by someone else, 4 gates failed."


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands of ``topiccore registry`` and their arguments."""
    parser.epilog = _EXIT_CODES
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    def action(
        name: str, text: str, run: Callable[[argparse.Namespace], int], changes: bool = False
    ) -> argparse.ArgumentParser:
        one = actions.add_parser(name, help=text, description=text, epilog=_EXIT_CODES)
        one.set_defaults(action=run)
        add_registry(one)
        one.add_argument("--json", action="store_true", help="print JSON")
        if changes:
            one.add_argument(
                "--who", help="name for the records (default: $TOPICCORE_WHO, or the user)"
            )
        return one

    one = action("push", "Add an artifact as a version.", _push, changes=True)
    one.add_argument(
        "artifact", type=Path, help="artifact directory, or run folder of 'topiccore train'"
    )
    one.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="report.json whose figures are kept (default: the run folder's)",
    )
    one.add_argument("--note", help="a line about the version")

    action("list", "List the versions, the newest first.", _list)

    one = action("show", "Show a version, or a channel and its history.", _show)
    one.add_argument("name", help="channel, version, or the beginning of its id")
    one.add_argument(
        "--last", type=_natural, default=10, metavar="N", help="records of a channel (default: 10)"
    )

    one = action(
        "promote", "Point a channel at a version that passes its gates.", _promote, changes=True
    )
    one.add_argument("version", help="version, the beginning of its id, or a channel that has it")
    _add_channel(one)
    _add_labels(one)
    one.add_argument(
        "--figures-only",
        type=given_reason,
        metavar="REASON",
        help="where there are no queries, go by the figures in the manifests; the reason is kept",
    )
    one.add_argument(
        "--against",
        metavar="VERSION",
        help="compare with this one (default: the version of 'current', else the channel's); "
        "only with --override",
    )
    one.add_argument(
        "--margin",
        type=_share,
        default=Limits.margin,
        metavar="SHARE",
        help="how far precision and coverage may fall by chance (default: %(default)s)",
    )
    one.add_argument(
        "--latency-ratio",
        type=_positive,
        default=Limits.ratio,
        metavar="R",
        help="largest median ratio of its time per query to the other's (default: %(default)s)",
    )
    one.add_argument(
        "--limits-reason",
        type=given_reason,
        metavar="REASON",
        help="why a limit is looser than the default, or the queries of --labels or --config are "
        "not the versions' test queries or few; kept in the history",
    )
    one.add_argument(
        "--canary-url",
        metavar="URL",
        help="ask this service how often the version's answers to real queries differ",
    )
    one.add_argument(
        "--max-differing",
        type=_share,
        default=Canary.max_differing,
        metavar="SHARE",
        help="of these queries, at most (default: %(default)s)",
    )
    one.add_argument(
        "--min-compared",
        type=_natural,
        default=Canary.min_compared,
        metavar="N",
        help="queries compared, at least (default: %(default)s)",
    )
    one.add_argument(
        "--canary-token", type=Path, metavar="FILE", help="file with the service's bearer token"
    )
    one.add_argument(
        "--override",
        type=given_reason,
        metavar="REASON",
        help="promote even if it is worse or slower; the reason is kept",
    )
    one.add_argument("--reason", type=given_reason, help="why; kept in the history")

    one = action(
        "rollback",
        "Point a channel at the version it had before; again, at the one before that.",
        _rollback,
        changes=True,
    )
    _add_channel(one)
    one.add_argument("--to", metavar="VERSION", help="an earlier version of the channel")
    one.add_argument("--reason", type=given_reason, help="why; kept in the history")

    one = action("diff", "Compare two versions: figures, settings, answers that change.", _diff)
    one.add_argument("old", help="version or channel")
    one.add_argument("new", help="version or channel")
    _add_labels(one)
    one.add_argument(
        "--queries",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="ask these: lines of .txt, or the column text of a table",
    )

    one = action("gc", "Delete versions that no channel has or recently had.", _gc, changes=True)
    one.add_argument(
        "--keep",
        type=_natural,
        default=10,
        metavar="N",
        help="keep what each channel had in its last N changes (default: 10)",
    )
    one.add_argument("--dry-run", action="store_true", help="delete nothing, tell what would be")
    one.add_argument(
        "--force", action="store_true", help="delete even what was pushed within the last hour"
    )

    one = action("mlflow", "Copy a version into MLflow's model registry.", _mlflow)
    one.add_argument("version", help="version, the beginning of its id, or a channel")
    one.add_argument("--uri", required=True, help="tracking server or store of MLflow")
    one.add_argument("--name", required=True, help="name of the registered model")
    one.add_argument("--experiment", default="topiccore", help="default: topiccore")


def add_registry(parser: argparse.ArgumentParser) -> None:
    """Adds the option that names the registry."""
    given = os.environ.get(VARIABLE)
    parser.add_argument(
        "--registry",
        type=Path,
        metavar="DIR",
        default=Path(given) if given else None,
        required=not given,
        help=f"folder of the registry (default: ${VARIABLE})",
    )


def _add_channel(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--channel",
        default=layout.CURRENT,
        metavar="NAME",
        help=f"such as canary or staging (default: {layout.CURRENT})",
    )
    parser.add_argument(
        "--expect",
        metavar="VERSION",
        help=f"change nothing unless the channel has this version now ({NONE!r}: has none)",
    )


def _add_labels(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--labels",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="measure on these tables, with the columns text and labels",
    )
    source.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="measure on the test queries of these settings (default: the project's, if there)",
    )
    parser.add_argument(
        "--cache", type=Path, metavar="DIR", help="folder of the project's query collections"
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs one action; returns 0, or 3 or 4 as the help says."""
    try:
        return int(arguments.action(arguments))
    except RegistryError as error:
        if error.exit_code == RegistryError.exit_code:
            raise
        print(f"topiccore: error: {error}", file=sys.stderr)
        return error.exit_code


def _push(arguments: argparse.Namespace) -> int:
    registry = Registry.open_or_make(arguments.registry)
    found = push(
        registry,
        arguments.artifact,
        _author(arguments),
        report=arguments.report,
        note=arguments.note,
    )
    for remark in found.remarks:
        _tell(remark)
    content = {"id": found.identity, "state": found.state, "path": str(found.path)}
    _print(arguments, content, f"{found.identity[:12]} {found.state}: {found.path}")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    lines = description.versions(Registry(arguments.registry))
    _print(arguments, lines, printing.versions_table(lines))
    return 0


def _show(arguments: argparse.Namespace) -> int:
    registry = Registry(arguments.registry)
    if layout.is_channel_name(arguments.name):
        found = description.channel(registry, arguments.name, arguments.last)
        _print(arguments, found, printing.channel_text(found))
        return 0
    found = description.version(registry, registry.find(arguments.name))
    _print(arguments, found, printing.version_text(found))
    return 1 if found["damage"] else 0


def _promote(arguments: argparse.Namespace) -> int:
    registry = Registry(arguments.registry)
    identity = registry.find(arguments.version)
    try:
        found = promote(
            registry,
            identity,
            arguments.channel,
            _author(arguments),
            source=QuerySource(
                arguments.labels, arguments.config, arguments.cache, arguments.figures_only
            ),
            limits=Limits(
                margin=arguments.margin,
                ratio=arguments.latency_ratio,
                reason=arguments.limits_reason,
            ),
            canary=_canary(arguments),
            expected=_expected(registry, arguments.expect),
            against=registry.find(arguments.against) if arguments.against else None,
            override=arguments.override,
            reason=arguments.reason,
            tell=_tell,
        )
    except GatesFailedError as error:
        gates = [gate.as_json() for gate in error.gates]
        content = {"id": identity, "channel": arguments.channel, "state": "refused", "gates": gates}
        _print(arguments, content, printing.gates_text(error.gates))
        raise
    content = {
        "id": identity,
        "channel": found.channel,
        "state": "promoted" if found.record else "unchanged",
        "gates": [gate.as_json() for gate in found.gates],
        "record": found.record,
    }
    text = f"{found.channel} has {identity[:12]} already"
    if found.record:
        text = f"{printing.gates_text(found.gates)}\n{printing.record_text(found.record)}"
    _print(arguments, content, text)
    return 0


def _rollback(arguments: argparse.Namespace) -> int:
    registry = Registry(arguments.registry)
    record = channels.go_back(
        registry,
        arguments.channel,
        _author(arguments),
        expected=_expected(registry, arguments.expect),
        to=registry.find(arguments.to) if arguments.to else None,
        reason=arguments.reason,
    )
    _print(arguments, record, printing.record_text(record))
    return 0


def _diff(arguments: argparse.Namespace) -> int:
    import topiccore
    from registry.difference import changed_answers, difference, measured

    registry = Registry(arguments.registry)
    old, new = (
        topiccore.load(registry.version_path(registry.find(name)))
        for name in (arguments.old, arguments.new)
    )
    found = difference(old, new)
    source = QuerySource(arguments.labels, arguments.config, arguments.cache)
    if arguments.queries:
        found["answers"] = changed_answers(old, new, read_queries(arguments.queries))
    else:
        queries, remark = source.labelled(new, _tell)
        if queries is None:
            _tell(f"figures alone: {remark}")
        else:
            found["quality"] = measured(old, new, queries)
            found["answers"] = changed_answers(old, new, queries.texts)
    names = {
        label.code: model.taxonomy.full_name(label.code)
        for model in (old, new)
        for label in model.taxonomy
    }
    _print(arguments, found, printing.difference_text(found, names.__getitem__))
    return 0


def _gc(arguments: argparse.Namespace) -> int:
    found = collect(
        Registry(arguments.registry),
        _author(arguments),
        keep=arguments.keep,
        force=arguments.force,
        dry_run=arguments.dry_run,
    )
    content = asdict(found) | {"dry_run": arguments.dry_run}
    _print(arguments, content, printing.collected_text(found, arguments.dry_run))
    return 0


def _mlflow(arguments: argparse.Namespace) -> int:
    from registry.mlflow_registry import copy_to_mlflow

    registry = Registry(arguments.registry)
    identity = registry.find(arguments.version)
    found = copy_to_mlflow(registry, identity, arguments.uri, arguments.name, arguments.experiment)
    state = "registered as" if found["registered"] else "is already"
    _print(arguments, found, f"{identity[:12]} {state} {found['name']} {found['version']}")
    return 0


def _canary(arguments: argparse.Namespace) -> Canary | None:
    if arguments.canary_url is None:
        return None
    return Canary(
        arguments.canary_url,
        arguments.min_compared,
        arguments.max_differing,
        arguments.canary_token,
    )


def _author(arguments: argparse.Namespace) -> Author:
    return author(who=arguments.who)


def _expected(registry: Registry, given: str | None) -> str | None:
    if given is None:
        return channels.ANY
    return None if given == NONE else registry.find(given)


def _print(arguments: argparse.Namespace, content: Any, text: str) -> None:
    print(printing.as_json(content) if arguments.json else text)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def given_reason(text: str) -> str:
    """The type of options that take a reason, which must not be blank."""
    if not text.strip():
        raise argparse.ArgumentTypeError("a reason is needed")
    return text.strip()


def _natural(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 8:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")


def _share(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def _positive(text: str) -> float:
    value = _number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0


COMMAND = Command(
    "registry", "Keep versions of the model, promote them, roll them back.", configure, run
)
