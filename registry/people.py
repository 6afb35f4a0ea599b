"""Who does something, and when: what every record begins with."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

WHO_VARIABLES = ("TOPICCORE_WHO", "GITLAB_USER_LOGIN", "GITHUB_ACTOR")
"""Where pipelines, which all run as one user, say who set them going."""


@dataclass(frozen=True, slots=True)
class Author:
    """The person or pipeline that changes the registry, and its machine."""

    who: str
    host: str


def author(environment: Mapping[str, str] = os.environ, who: str | None = None) -> Author:
    """The author of what this process does; ``who`` is a name given by hand."""
    for name in WHO_VARIABLES:
        who = who or environment.get(name)
    if not who:
        try:
            who = getpass.getuser()
        except (KeyError, OSError):
            # A user id without a name, as containers have.
            who = f"user {os.getuid()}"
    return Author(who, socket.gethostname())


def now() -> str:
    """The time in UTC, such as ``2026-01-31T12:00:00.000000+00:00``."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def seconds_since(when: str) -> float:
    """How long ago a time of ``now`` was; raises ``ValueError`` when it is none."""
    return (datetime.now(UTC) - datetime.fromisoformat(when)).total_seconds()
