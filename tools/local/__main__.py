"""``python -m tools.local``: two services behind HAProxy on this machine, under one address."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from registry.command import add_registry
from tools.local.site import Site
from topiccore import TopiccoreError

SITE = Path("runs/local")


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    found = argparse.ArgumentParser(
        prog="python -m tools.local",
        description="Services behind HAProxy on this machine, as a cluster in small.",
    )
    actions = found.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, text: str) -> argparse.ArgumentParser:
        one = actions.add_parser(name, help=text, description=text)
        one.add_argument(
            "--site", type=Path, default=SITE, metavar="DIR", help="default: %(default)s"
        )
        return one

    one = action("up", "Serve the registry's current version.")
    add_registry(one)
    one.add_argument("--port", type=int, metavar="N", help="of the proxy (default: any)")
    one.add_argument("--workers", type=int, default=2, metavar="N", help="default: 2 a service")
    one.add_argument("--container", action="store_true", help="run services in containers")
    action("status", "Tell what runs.")
    one = action("share", "Give the canary a share of the requests.")
    one.add_argument("percent", type=percent, help="per cent; 0 ends the canary")
    action("down", "Stop everything.")
    return found


def percent(text: str) -> int:
    """A whole number from 0 to 100; raises ``ArgumentTypeError``."""
    if text.isascii() and text.isdigit() and int(text) <= 100:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 100")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0, or 1 with a message."""
    chosen = parser().parse_args(arguments)
    try:
        if chosen.action == "up":
            site = Site.start(
                chosen.site,
                chosen.registry,
                workers=chosen.workers,
                port=chosen.port,
                container=chosen.container,
            )
        else:
            site = Site(chosen.site)
        if chosen.action == "down":
            site.stop()
            return 0
        if chosen.action == "share":
            site.share(chosen.percent)
        print("\n".join(site.status()))
    except TopiccoreError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
