"""The command ``topiccore``: finds its subcommands, runs one, turns errors into messages.

Subcommands are entry points of the group ``topiccore.commands``, so the core needs to know none
of the packages that add one.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points, version

from topiccore.errors import TopiccoreError

GROUP = "topiccore.commands"


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand: ``configure`` adds its arguments, ``run`` returns the exit code."""

    name: str
    help: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, 1 for an error that is told, 2 for wrong usage."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    wanted = next((word for word in arguments if not word.startswith("-")), None)
    try:
        # Only the wanted subcommand is imported: others may lack what they need.
        commands = [_load(found[wanted])] if wanted in found else _load_all(found)
        parser = _parser(commands)
        namespace = parser.parse_args(arguments)
        return int(namespace.run(namespace))
    except TopiccoreError as error:
        print(f"topiccore: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("topiccore: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output has gone; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _load(entry: EntryPoint) -> Command:
    try:
        command: Command = entry.load()
    except ModuleNotFoundError as error:
        extras = {"train": "train", "serve": "serve"}
        raise TopiccoreError(
            f"'topiccore {entry.name}' needs the package {error.name}: "
            f"pip install 'topiccore[{extras.get(entry.name, entry.name)}]'"
        ) from error
    return command


def _load_all(found: dict[str, EntryPoint]) -> list[Command]:
    commands = []
    for entry in found.values():
        try:
            commands.append(_load(entry))
        except TopiccoreError as error:
            message = str(error)
            commands.append(Command(entry.name, f"({message})", lambda _: None, _refuse(message)))
    return sorted(commands, key=lambda command: command.name)


def _refuse(message: str) -> Callable[[argparse.Namespace], int]:
    def run(_: argparse.Namespace) -> int:
        raise TopiccoreError(message)

    return run


def _parser(commands: list[Command]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="topiccore", description="Tells which topics a search query is about."
    )
    parser.add_argument("--version", action="version", version=f"topiccore {version('topiccore')}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in commands:
        subparser = subparsers.add_parser(command.name, help=command.help, description=command.help)
        command.configure(subparser)
        subparser.set_defaults(run=command.run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
