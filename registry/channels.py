"""Changing what a channel points at: compare and swap under the lock, with a record of it."""

from __future__ import annotations

import shlex
from typing import Any

from registry import history, layout
from registry.errors import ConflictError, RegistryError
from registry.files import point_link
from registry.history import Record
from registry.people import Author, now
from registry.store import Registry, check_channel_name
from topiccore import artifact
from topiccore.errors import ArtifactError

ANY = "any"
"""In the place of an expected id: whatever the channel points at."""


def move(
    registry: Registry,
    channel: str,
    to: str,
    author: Author,
    *,
    expected: str | None,
    action: str,
    **details: Any,
) -> Record:
    """Points a channel at a version if it still points at ``expected``; returns the record.

    Raises ``ConflictError`` when it points elsewhere, and ``RegistryError`` when the version is
    not there any more; nothing is changed then.
    """
    check_channel_name(channel)
    with registry.locked(author):
        reconcile(registry, channel, author)
        expect(registry, channel, expected)
        if not registry.has(to):
            raise RegistryError(f"{registry.root}: version {to[:12]} was deleted meanwhile")
        # The record first: a link that moved without one would be a change that nobody made.
        record = _append(registry, channel, author, action, expected, to, details)
        _point(registry, channel, to)
    return record


def go_back(
    registry: Registry,
    channel: str,
    author: Author,
    *,
    expected: str | None = ANY,
    to: str | None = None,
    reason: str | None = None,
) -> Record:
    """Points a channel at the version it had before the one it has, or at an earlier one, ``to``.

    ``expected`` is the id that the channel must have.  Raises ``RegistryError`` when there is none
    or it is damaged, and ``ConflictError``.
    """
    check_channel_name(channel)
    with registry.locked(author):
        reconcile(registry, channel, author)
        current = registry.current(channel)
        if expected != ANY:
            expect(registry, channel, expected)
        trail = history.trail(history.read_history(registry.root, channel))
        earlier = trail[:-1]
        if not earlier:
            raise RegistryError(f"{registry.root}: channel {channel!r} has no earlier version")
        if to is not None and to not in earlier:
            raise RegistryError(
                f"{registry.root}: {to[:12]} is none of the earlier versions of {channel!r}: "
                + ", ".join(x[:12] for x in reversed(earlier))
            )
        target = to or earlier[-1]
        if problem := _problem(registry, target):
            others = [x for x in reversed(earlier) if x != target and registry.has(x)]
            hint = f"; still earlier, for --to: {', '.join(x[:12] for x in others)}"
            raise RegistryError(
                f"the version before, {target[:12]}, {problem}" + (hint if others else "")
            )
        record = _append(registry, channel, author, "rollback", current, target, {"reason": reason})
        _point(registry, channel, target)
    return record


def _problem(registry: Registry, identity: str) -> str | None:
    if not registry.has(identity):
        return "was deleted by gc"
    try:
        artifact.load(registry.version_path(identity))
    except ArtifactError as error:
        return f"cannot be served: {error}"
    return None


def note_refusal(
    registry: Registry, channel: str, to: str, author: Author, **details: Any
) -> Record:
    """Records that a version did not pass the gates of a channel, which stays as it is."""
    with registry.locked(author):
        reconcile(registry, channel, author)
        current = registry.current(channel)
        return _append(registry, channel, author, "refused", current, to, details)


def reconcile(registry: Registry, channel: str, author: Author) -> None:
    """Records where a channel points if that is not what its history says; holds under the lock.

    The link is what is served, so it is right: a promotion that died halfway did not happen.
    """
    current = registry.current(channel)
    told = history.last_change(history.read_history(registry.root, channel))
    if current != told:
        reason = "a change was cut off, or the link was set by hand"
        _append(registry, channel, author, "found", told, current, {"reason": reason})


def expect(registry: Registry, channel: str, expected: str | None) -> None:
    """Raises ``ConflictError`` when a channel's version is not the expected one."""
    current = registry.current(channel)
    if current == expected:
        return
    text = f"{registry.root}: channel {channel!r} has {_short(current)}, not {_short(expected)}"
    records = [
        record
        for record in history.read_history(registry.root, channel)
        if record["action"] != "refused"
    ]
    if records:
        last = records[-1]
        text += f": {last['action']} by {last['who']} at {last['when']}"
    version = f" --expect {shlex.quote(current)}" if current else ""
    raise ConflictError(f"{text}; nothing was changed (look at it, then try again{version})")


def _append(
    registry: Registry,
    channel: str,
    author: Author,
    action: str,
    before: str | None,
    to: str | None,
    details: dict[str, Any],
) -> Record:
    record = {
        "action": action,
        "channel": channel,
        "when": now(),
        "who": author.who,
        "host": author.host,
        "from": before,
        "to": to,
    }
    return history.append(registry.root, channel, record | details)


def _point(registry: Registry, channel: str, identity: str) -> None:
    try:
        point_link(layout.channel_link(registry.root, channel), f"../versions/{identity}")
    except OSError as error:
        raise RegistryError(
            f"{layout.channel_link(registry.root, channel)}: cannot be set: {error.strerror}"
        ) from error


def _short(identity: str | None) -> str:
    return identity[:12] if identity else "no version"
