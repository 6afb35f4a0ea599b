"""From a finished artifact to a share of the requests, in one command.

    python -m tools.release runs/new --percent 10

Pushes the artifact into the registry, has it pass the gates for the channel canary, builds its
image where services run in containers, starts it, and gives it its share.  Where a step fails, no
request has reached it.  Returns 4 when a gate refuses it, 1 when something else fails.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from registry import layout, printing
from registry.command import given_reason
from registry.errors import RegistryError
from registry.gates import Limits
from registry.people import author
from registry.promote import GatesFailedError, promote
from registry.push import push
from registry.queries import QuerySource
from tools.local.__main__ import SITE, percent
from tools.local.errors import LocalError
from tools.local.site import CANARY, Site
from topiccore import TopiccoreError

ANSWERS = 1000
"""Requests after which the canary must have answered one, at a share of a per cent too."""


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    found = argparse.ArgumentParser(
        prog="python -m tools.release",
        description="Give a finished artifact a share of the requests, if it passes the gates.",
    )
    found.add_argument(
        "artifact", type=Path, help="artifact directory, or run folder of 'topiccore train'"
    )
    found.add_argument(
        "--percent", type=percent, default=5, help="of the requests (default: %(default)s)"
    )
    found.add_argument(
        "--site", type=Path, default=SITE, metavar="DIR", help="what is running (%(default)s)"
    )
    found.add_argument("--note", help="a line about the version")
    found.add_argument("--labels", type=Path, nargs="+", default=[], metavar="FILE")
    found.add_argument(
        "--config", type=Path, metavar="FILE", help="these: as for 'registry promote'"
    )
    found.add_argument("--latency-ratio", type=float, default=Limits.ratio, metavar="R")
    found.add_argument("--limits-reason", type=given_reason, metavar="REASON")
    found.add_argument("--figures-only", type=given_reason, metavar="REASON")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when the version has its share."""
    chosen = parser().parse_args(arguments)
    started = time.monotonic()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - started:6.1f} s  {text}", flush=True)

    try:
        _release(Site(chosen.site), chosen, tell)
    except GatesFailedError as error:
        print(printing.gates_text(error.gates))
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except TopiccoreError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, RegistryError) else 1
    tell("done")
    return 0


def _release(site: Site, chosen: argparse.Namespace, tell: Callable[[str], None]) -> None:
    who = author()
    pushed = push(site.registry, chosen.artifact, who, note=chosen.note)
    identity = pushed.identity
    tell(f"version {identity[:12]} {pushed.state}")
    if site.registry.current(layout.CURRENT) == identity:
        raise LocalError(f"{identity[:12]} has all the requests already")
    found = promote(
        site.registry,
        identity,
        CANARY,
        who,
        source=QuerySource(chosen.labels, chosen.config, figures_only=chosen.figures_only),
        limits=Limits(ratio=chosen.latency_ratio, reason=chosen.limits_reason),
    )
    if found.gates:
        print(printing.gates_text(found.gates), flush=True)
    told = "passed the gates: the channel canary has it"
    tell(told if found.record else "the channel canary has it already")
    if site.in_containers:
        tell(f"image {site.build_image(identity)}")
    site.start_canary(identity)
    tell("canary ready")
    site.share(chosen.percent)
    if chosen.percent and not any(
        site.ask("/v1/topics?q=car")["model"] == identity for _ in range(ANSWERS)
    ):
        site.end_canary()
        raise LocalError(f"none of {ANSWERS} requests was answered by {identity[:12]}")
    tell(f"{chosen.percent} % of the requests go to it")


if __name__ == "__main__":
    sys.exit(main())
