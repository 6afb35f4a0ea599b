"""Where everything stands in a registry folder; imports nothing, so that the service can use it.

registry.json               that this is a registry, and of which format
lock                        held by whoever changes something
versions/ID/                an artifact, and record.json: who pushed it, when, from where
channels/NAME               a relative link to ../versions/ID
history/NAME.jsonl          a channel's changes and refusals, one a line
incoming/                   what is being pushed or deleted, or was when a process died
"""

from __future__ import annotations

import re
from pathlib import Path

CURRENT = "current"
"""The channel that is served and promoted to when no other is named."""
IDENTITY = re.compile("[0-9a-f]{64}")
CHANNEL = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
PREFIX = re.compile("[0-9a-f]{4,64}")
"""The beginning of an id by which a version is named; no channel has such a name."""
RECORD = "record.json"


def is_channel_name(name: str) -> bool:
    """Whether a channel can have this name."""
    return bool(CHANNEL.fullmatch(name)) and not PREFIX.fullmatch(name)


def marker(root: Path) -> Path:
    """The file that makes a folder a registry."""
    return root / "registry.json"


def lock_file(root: Path) -> Path:
    """The file whose lock is held while something changes."""
    return root / "lock"


def versions_folder(root: Path) -> Path:
    """The folder of all versions, each a folder named by its id."""
    return root / "versions"


def channels_folder(root: Path) -> Path:
    """The folder of the channels' links."""
    return root / "channels"


def channel_link(root: Path, channel: str) -> Path:
    """The link to the version of a channel: an artifact directory to serve."""
    return channels_folder(root) / channel


def history_file(root: Path, channel: str) -> Path:
    """The changes and refusals of a channel, one JSON object a line."""
    return root / "history" / f"{channel}.jsonl"


def incoming_folder(root: Path) -> Path:
    """Where versions are written before they are moved into place."""
    return root / "incoming"
