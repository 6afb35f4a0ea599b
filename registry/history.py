"""The history of a channel: one record for each change and each refusal, never rewritten."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from registry import layout
from registry.errors import RegistryError
from registry.files import append_line

Record = dict[str, Any]
"""``number`` (from 1), ``action``, ``channel``, ``when``, ``who``, ``host``, ``from`` and ``to``
(ids or ``None``); of promotions also ``reason``, ``override``, ``figures_only``, ``limits``,
``against`` and ``gates``.

Actions: "promote"; "rollback"; "refused", a promotion that did not pass its gates; "found", where
the channel pointed elsewhere than its last record says (a process died, or someone set the link by
hand)."""
_KEYS = {"number", "action", "channel", "when", "who", "from", "to"}
_ACTIONS = {"promote", "rollback", "refused", "found"}


def read_history(root: Path, channel: str) -> list[Record]:
    """A channel's records, oldest first; raises ``RegistryError`` that names the line.

    A last line without an end is what a process that died had begun to write: it is left out.
    """
    file = layout.history_file(root, channel)
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RegistryError(f"{file}: {error.strerror}") from error
    lines = text.split(b"\n")[:-1]
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise RegistryError(f"{file}:{number}: not JSON: {error}") from error
        if (
            not isinstance(record, dict)
            or not record.keys() >= _KEYS
            or record["action"] not in _ACTIONS
            or record["number"] != number
        ):
            raise RegistryError(f"{file}:{number}: not record {number} of a channel's history")
        records.append(record)
    return records


def append(root: Path, channel: str, record: Record) -> Record:
    """Adds a record, numbered, and returns it; the caller holds the lock."""
    file = layout.history_file(root, channel)
    records = read_history(root, channel)
    record = {"number": len(records) + 1} | record
    _cut_unfinished(file)
    append_line(root, file, json.dumps(record, ensure_ascii=False))
    return record


def _cut_unfinished(file: Path) -> None:
    if not file.exists():
        return
    content = file.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole != len(content):
        with file.open("r+b") as stream:
            stream.truncate(whole)
            os.fsync(stream.fileno())


def last_change(records: list[Record]) -> str | None:
    """The id that the history says a channel has."""
    changes = [record for record in records if record["action"] != "refused"]
    return changes[-1]["to"] if changes else None


def trail(records: list[Record]) -> list[str]:
    """The ids that rollbacks go back along; the last is the channel's version.

    A promotion adds one, a rollback takes off all behind the one it goes back to.
    """
    found: list[str] = []
    for record in records:
        action, identity = record["action"], record["to"]
        if action == "refused" or identity is None:
            continue
        if action != "promote" and identity in found:
            while found[-1] != identity:
                found.pop()
        elif not found or found[-1] != identity:
            found.append(identity)
    return found
