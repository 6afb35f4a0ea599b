"""The baseline of a promotion: the version that another must not be worse than."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import topiccore
from registry import history, layout
from registry.errors import RegistryError
from registry.store import Registry
from topiccore import TopicModel
from topiccore.errors import TopiccoreError


@dataclass(frozen=True)
class Baseline:
    """``identity`` is ``None`` where nothing is served yet and none was named.

    ``served``: the id of the version that is served.  ``model`` is ``None`` where none loads;
    ``remark`` tells which do not, and why.
    """

    served: str | None
    identity: str | None
    model: TopicModel | None = None
    remark: str = ""


def find_baseline(
    registry: Registry, channel: str, before: str | None, against: str | None, override: str | None
) -> Baseline:
    """What a version must not be worse than to be had by a channel, which has ``before`` now.

    The version of the channel ``current``, or where that has none, ``before``; where it does not
    load, the last one of the channel before it that does.  ``against`` names another, but only
    together with an ``override``, else ``RegistryError`` is raised.
    """
    current = channel == layout.CURRENT
    held = registry.current(layout.CURRENT)
    served = before if current else held or before
    if served is None:
        return Baseline(None, None) if against is None else _first_that_loads(registry, [against])
    yardstick = layout.CURRENT if current or held else channel
    found = _first_that_loads(registry, [served, *_earlier(registry, yardstick, served)])
    if against is None or against in (served, found.identity):
        return replace(found, served=served)
    if override is None:
        raise RegistryError(
            f"{registry.root}: a version for {channel!r} is compared with the version that "
            f"{yardstick!r} has, {served[:12]}; another --against, {against[:12]}, needs "
            "--override REASON"
        )
    return replace(_first_that_loads(registry, [against]), served=served)


def _earlier(registry: Registry, channel: str, served: str) -> list[str]:
    """The versions that rollbacks would go back to, the last one first."""
    records = history.read_history(registry.root, channel)
    # What was gone back from, or was never reached, is no measure.
    if history.last_change(records) != served:
        records = [*records, {"action": "found", "to": served}]
    return history.trail(records)[-2::-1]


def _first_that_loads(registry: Registry, identities: Sequence[str]) -> Baseline:
    problems = []
    for identity in identities:
        path = registry.version_path(identity)
        if not registry.has(identity):
            problems.append(f"{identity[:12]} was deleted")
            continue
        try:
            model = topiccore.load(path)
            if model.id != identity:
                raise RegistryError(f"{path}: holds {model.id}")
        except TopiccoreError as error:
            problems.append(f"{identity[:12]} does not load: {error}")
        else:
            return Baseline(None, identity, model, "; ".join(problems))
    return Baseline(None, identities[0], None, "; ".join(problems))
