"""What is known of a version or a channel, as JSON-able dictionaries."""

from __future__ import annotations

from typing import Any

from registry import history
from registry.collect import folder_bytes
from registry.errors import RegistryError
from registry.quality import manifest_quality
from registry.store import Registry
from topiccore import artifact
from topiccore.errors import ArtifactError


def versions(registry: Registry) -> list[dict[str, Any]]:
    """A line on each version, the newest first; ``damage`` tells why one cannot be served."""
    channels = registry.channels()
    found = [_line(registry, identity, channels) for identity in registry.identities()]
    return sorted(found, key=lambda line: (line["when"] or "", line["id"]), reverse=True)


def _line(registry: Registry, identity: str, channels: dict[str, str]) -> dict[str, Any]:
    path = registry.version_path(identity)
    line: dict[str, Any] = {"id": identity, "when": None, "who": None, "note": None}
    line["channels"] = [name for name, held in channels.items() if held == identity]
    line["bytes"] = folder_bytes(path)
    line["quality"] = {}
    line["damage"] = None
    try:
        record = registry.record(identity)
        line |= {key: record.get(key) for key in ("when", "who", "note")}
        # Checksums are for 'show': a list must not read every byte of every version.
        line["quality"] = manifest_quality(artifact.load(path, verify=False).training)
    except (RegistryError, ArtifactError) as error:
        line["damage"] = str(error)
    return line


def version(registry: Registry, identity: str) -> dict[str, Any]:
    """All that is known of a version, its files checked."""
    found = _line(registry, identity, registry.channels())
    found["path"] = str(registry.version_path(identity))
    try:
        record = registry.record(identity)
        found |= {key: record.get(key) for key in ("host", "topiccore", "report", "report_added")}
        loaded = artifact.load(registry.version_path(identity))
        found |= {
            "encoding": loaded.encoding,
            "labels": len(loaded.taxonomy),
            "features": len(loaded.index.keys),
            "training": dict(loaded.training),
            "data": dict(loaded.data),
        }
    except (RegistryError, ArtifactError) as error:
        found["damage"] = str(error)
    return found


def channel(registry: Registry, name: str, last: int) -> dict[str, Any]:
    """A channel's version, those before it and its last records, the newest first.

    ``deleted`` has those of ``earlier`` that are not there any more.
    """
    records = history.read_history(registry.root, name)
    current = registry.current(name)
    if current is None and not records:
        raise RegistryError(f"{registry.root}: there is no channel {name!r}")
    earlier = list(reversed(history.trail(records)[:-1]))
    return {
        "channel": name,
        "version": current,
        "unrecorded": current != history.last_change(records),
        "earlier": earlier,
        "deleted": [identity for identity in earlier if not registry.has(identity)],
        "history": list(reversed(records))[:last],
    }
