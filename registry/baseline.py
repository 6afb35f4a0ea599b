"""The baseline of a promotion: the version that another must not be worse than."""

from __future__ import annotations

from dataclasses import dataclass

import topiccore
from registry import layout
from registry.errors import RegistryError
from registry.store import Registry
from topiccore import TopicModel
from topiccore.errors import TopiccoreError


@dataclass(frozen=True)
class Baseline:
    """``identity`` is ``None`` where nothing is served yet and none was named.

    ``served``: the id of the version that is served.  ``model`` is ``None`` where there is none to
    compare with; ``remark`` tells why it does not load.
    """

    served: str | None
    identity: str | None
    model: TopicModel | None = None
    remark: str = ""


def find_baseline(
    registry: Registry, channel: str, before: str | None, against: str | None, override: str | None
) -> Baseline:
    """What a version must not be worse than to be had by a channel, which has ``before`` now.

    The version of the channel ``current``, or where that has none, ``before``.  ``against`` names
    another: for the channel ``current`` only together with an ``override``, else ``RegistryError``
    is raised.
    """
    current = channel == layout.CURRENT
    served = before if current else registry.current(layout.CURRENT) or before
    if against is None or against == served:
        against = served
    elif current and served is not None and override is None:
        raise RegistryError(
            f"{registry.root}: what {layout.CURRENT!r} is to have is compared with the version "
            f"that it serves, {served[:12]}; with {against[:12]} instead only by --override REASON"
        )
    if against is None:
        return Baseline(served, None)
    try:
        return Baseline(served, against, _load(registry, against))
    except TopiccoreError as error:
        return Baseline(served, against, None, f"{against[:12]} does not load: {error}")


def _load(registry: Registry, identity: str) -> TopicModel:
    path = registry.version_path(identity)
    model = topiccore.load(path)
    if model.id != identity:
        raise RegistryError(f"{path}: holds {model.id}")
    return model
