"""Promotion: the gates first, without the lock; then the change, if nothing else has changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from registry import channels, history, layout
from registry.baseline import find_baseline
from registry.canary import Canary, canary_gate
from registry.errors import ConflictError, GateError, RegistryError
from registry.gates import Gate, Limits, run_gates
from registry.history import Record
from registry.people import Author
from registry.queries import QuerySource
from registry.store import Registry, check_channel_name


@dataclass(frozen=True)
class Promotion:
    """What came of a promotion; ``record`` is ``None`` where the channel had the version."""

    identity: str
    channel: str
    gates: list[Gate]
    record: Record | None


class GatesFailedError(GateError):
    """Carries what every gate found."""

    def __init__(self, message: str, gates: list[Gate]):
        super().__init__(message)
        self.gates = gates


def promote(
    registry: Registry,
    identity: str,
    channel: str,
    author: Author,
    *,
    source: QuerySource,
    limits: Limits,
    canary: Canary | None = None,
    expected: str | None = channels.ANY,
    against: str | None = None,
    override: str | None = None,
    reason: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Promotion:
    """Points a channel at a version that passes its gates.

    It is compared with the version of the channel ``current``, or where that has none, with the
    channel's own; where that is damaged, with the last one before it that loads.  Or with
    ``against``, which takes an ``override``.
    ``override`` is a reason to promote a version that is worse; none helps one that does not work.
    Where the channel has the version already, gates run only if something else is served since.
    With ``canary``, what a running service has counted of both is a further gate.  Raises
    ``ConflictError`` when the channel's version is not ``expected`` at first or changes while the
    gates run, ``GatesFailedError``, after the refusal is recorded, and ``RegistryError`` for limits
    looser than the defaults without a reason.
    """
    check_channel_name(channel)
    looser = limits.looser() + (canary.looser() if canary else [])
    if looser and not (limits.reason or override):
        raise RegistryError(f"{', '.join(looser)}: looser limits need --limits-reason REASON")
    before = registry.current(channel)
    if expected not in (channels.ANY, before):
        channels.expect(registry, channel, expected)
        before = expected
    if before == identity and _stands(registry, channel, identity):
        return Promotion(identity, channel, [], None)
    baseline = find_baseline(registry, channel, before, against, override)
    # First, because it takes no time to find out that there is no such service.
    asked = [canary_gate(canary, identity, baseline.served)] if canary else []
    gates = run_gates(registry.version_path(identity), identity, baseline, source, limits, tell)
    gates += asked
    details = {
        "reason": reason,
        "override": override,
        "figures_only": source.figures_only,
        "limits": limits.as_json(),
        "against": baseline.identity,
        "gates": [gate.as_json() for gate in gates],
    }
    failed = [gate for gate in gates if gate.failed]
    if failed and (override is None or failed[0].name == "artifact"):
        channels.note_refusal(registry, channel, identity, author, **details)
        text = "; ".join(f"{gate.name}: {gate.text}" for gate in failed)
        raise GatesFailedError(f"{identity[:12]} is not promoted to {channel!r}: {text}", gates)
    try:
        record = channels.move(
            registry,
            channel,
            identity,
            author,
            expected=before,
            action="promote",
            **details,
        )
    except ConflictError as error:
        raise ConflictError(f"{identity[:12]} is not promoted: {error}") from error
    return Promotion(identity, channel, gates, record)


def _stands(registry: Registry, channel: str, identity: str) -> bool:
    """Whether the version that a channel has was held to what is served now."""
    served = registry.current(layout.CURRENT)
    if served in (None, identity):
        return True
    records = history.read_history(registry.root, channel)
    changes = [record for record in records if record["action"] != "refused"]
    last = changes[-1] if changes else {}
    return last.get("to") == identity and last.get("against") == served
