"""Where a server listens and how many processes and connections it has."""

from __future__ import annotations

import math
import socket
from dataclasses import dataclass
from pathlib import Path

from service.cpu_quota import cpu_quota
from topiccore import TopiccoreError
from topiccore.cpus import allowed_cpus

SERVERS = ("granian", "gunicorn", "meinheld")


class AddressError(TopiccoreError):
    """The service cannot listen at an address: unknown, in use or not allowed."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What the main process needs to know; ``service.settings`` has what the workers need."""

    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    max_connections: int = 1024
    """Open connections that each worker takes on; more wait in the kernel."""
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = None
    """``None``: no metrics are given."""
    server: str = "granian"
    """One of ``SERVERS``."""


def available_cpus(root: Path = Path("/")) -> int:
    """The CPUs that this process may use, by its affinity and by the quotas of its control groups.

    A quota of part of a CPU counts as a whole one; ``root`` is as for ``cpu_quota``.
    """
    quota = cpu_quota(root)
    allowed = allowed_cpus()
    return allowed if quota is None else min(allowed, math.ceil(quota))


def free_address(host: str, port: int) -> str:
    """The numeric address of ``host``, at which nothing listens; raises ``AddressError``.

    Granian shares a port (SO_REUSEPORT) with any other server that does so, and would get half of
    its requests without a word.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise AddressError(f"cannot listen at {host}:{port}: {error.strerror}") from error
    except UnicodeError as error:
        raise AddressError(f"cannot listen at {host}:{port}: not a host name") from error
    return str(address[0])
