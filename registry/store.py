"""A registry folder: opening one, making one, and naming what is in it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from registry import history, layout
from registry.errors import RegistryError
from registry.files import write_json
from registry.lock import locked
from registry.people import Author
from registry.sharing import make_folder

FORMAT = {"format": "topiccore-registry", "format_version": 1}


class Registry:
    """A folder of versions and channels, as ``registry.layout`` draws it.

    Raises ``RegistryError`` when the folder is no registry.
    """

    def __init__(self, root: Path):
        self.root = root
        marker = layout.marker(root)
        try:
            found = json.loads(marker.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RegistryError(
                f"{root}: no registry, {marker.name} is missing; "
                "'topiccore registry push' makes one"
            ) from None
        except (OSError, ValueError) as error:
            raise RegistryError(f"{marker}: {error}") from error
        if found != FORMAT:
            raise RegistryError(f"{marker}: is {found!r}; this topiccore reads {FORMAT!r}")

    @classmethod
    def open_or_make(cls, root: Path) -> Registry:
        """The registry in a folder; an empty or missing folder becomes one."""
        marker = layout.marker(root)
        try:
            if not marker.exists():
                # A run that died while making one has left some of these folders.
                others = set(os.listdir(root)) if root.exists() else set()
                folders = {"versions", "channels", "history", "incoming"}
                if odd := {x for x in others - folders if not x.startswith(f".{marker.name}-")}:
                    raise RegistryError(
                        f"{root}: no registry, and not empty: it has {sorted(odd)[0]!r}"
                    )
                root.mkdir(parents=True, exist_ok=True)
                for name in folders:
                    make_folder(root, name)
                write_json(marker, FORMAT)
        except OSError as error:
            raise RegistryError(f"{root}: cannot make a registry: {error}") from error
        return cls(root)

    def locked(self, author: Author) -> AbstractContextManager[None]:
        """Holds the registry's lock; raises ``ConflictError`` when it cannot be had."""
        return locked(layout.lock_file(self.root), author)

    def version_path(self, identity: str) -> Path:
        """The artifact directory of a version, whether it is there or not."""
        return layout.versions_folder(self.root) / identity

    def has(self, identity: str) -> bool:
        """Whether a version is there; one that a history names and that is not, 'gc' deleted."""
        return self.version_path(identity).exists()

    def identities(self) -> list[str]:
        """The ids of all versions, in order."""
        with os.scandir(layout.versions_folder(self.root)) as entries:
            return sorted(x.name for x in entries if layout.IDENTITY.fullmatch(x.name))

    def channels(self) -> dict[str, str]:
        """The ids of the channels' versions, by the channels' names."""
        folder = layout.channels_folder(self.root)
        names = sorted(x for x in os.listdir(folder) if layout.is_channel_name(x))
        found = ((name, self.current(name)) for name in names)
        return {name: identity for name, identity in found if identity is not None}

    def current(self, channel: str) -> str | None:
        """The id of a channel's version; ``None`` while it has none.

        Raises ``RegistryError`` for a name that no channel can have and for a foreign link.
        """
        check_channel_name(channel)
        link = layout.channel_link(self.root, channel)
        try:
            target = Path(os.readlink(link))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RegistryError(f"{link}: is no link to a version: {error.strerror}") from error
        if target.parent != Path("../versions") or not layout.IDENTITY.fullmatch(target.name):
            raise RegistryError(f"{link}: leads to {target}, not to ../versions/ID")
        return target.name

    def find(self, name: str) -> str:
        """The id of the version that an id, the beginning of one or a channel's name means.

        Raises ``RegistryError`` when none or several do.
        """
        if layout.is_channel_name(name):
            identity = self.current(name)
            if identity is None:
                raise RegistryError(f"{self.root}: there is no channel {name!r}")
            if not self.has(identity):
                raise RegistryError(
                    f"{layout.channel_link(self.root, name)}: its version {identity[:12]} is gone"
                )
            return identity
        if not layout.PREFIX.fullmatch(name):
            raise RegistryError(
                f"{name!r} is neither a channel nor at least 4 hex digits of a version's id"
            )
        found = [x for x in self.identities() if x.startswith(name)]
        if not found:
            for identity in self._named_in_histories():
                if identity.startswith(name):
                    raise RegistryError(f"{self.root}: {identity[:12]} was deleted by gc")
            raise RegistryError(f"{self.root}: there is no version {name!r}")
        if len(found) > 1:
            raise RegistryError(
                f"{self.root}: {name!r} is the beginning of {len(found)} versions' ids: "
                + ", ".join(x[:12] for x in found[:3])
            )
        return found[0]

    def _named_in_histories(self) -> Iterator[str]:
        for file in sorted(layout.history_file(self.root, layout.CURRENT).parent.glob("*.jsonl")):
            for record in history.read_history(self.root, file.stem):
                yield from filter(None, (record["from"], record["to"]))

    def record(self, identity: str) -> dict[str, Any]:
        """Who pushed a version, when and from where; raises ``RegistryError`` naming the file."""
        file = self.version_path(identity) / layout.RECORD
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RegistryError(f"{file}: {error}") from error
        if not isinstance(found, dict) or not isinstance(found.get("when"), str):
            raise RegistryError(f"{file}: not the record of a version")
        return found


def check_channel_name(name: str) -> None:
    """Raises ``RegistryError`` for a name that no channel can have."""
    if not layout.is_channel_name(name):
        raise RegistryError(
            f"{name!r} cannot be a channel's name: lower-case letters, digits, - and _, at most "
            "63, and not what could be the beginning of an id"
        )
