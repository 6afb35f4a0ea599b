"""The gate that a canary is: how often it answers real queries unlike the version it is to replace.

The service counts that (``GET /v1/comparison``), and its own module judges the counts.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from registry.errors import RegistryError
from registry.gates import Gate

PATH = "/v1/comparison"
TIMEOUT_SECONDS = 10.0
MOST_BYTES = 16 << 20
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_KEPT = ("mode", "share", "workers", "compared", "failures", "differing", "differing_best")


@dataclass(frozen=True)
class Canary:
    """A running service that compares two versions, and what the counts must be.

    ``url`` is its address without a path of the API.  ``min_compared``: queries, at least;
    ``max_differing``: share of them whose labels may differ, in [0, 1].  ``token_file``: its first
    line that is not blank and does not begin with ``#`` is sent as a bearer token.
    """

    url: str
    min_compared: int = 1000
    max_differing: float = 0.05
    token_file: Path | None = None

    def looser(self) -> list[str]:
        """Which of its limits let more pass than the defaults do; texts."""
        found = []
        if not self.max_differing <= Canary.max_differing:
            found.append(
                f"--max-differing {self.max_differing:g} (default: {Canary.max_differing:g})"
            )
        if self.min_compared < Canary.min_compared:
            found.append(f"--min-compared {self.min_compared} (default: {Canary.min_compared})")
        return found


def canary_gate(canary: Canary, identity: str, against: str | None) -> Gate:
    """Asks the service and judges its counts; waiting for more queries is not passing either.

    Raises ``RegistryError`` when the service does not answer as it should, or compares other
    versions than ``identity`` with ``against`` (``None``: with any).
    """
    try:
        from service.comparison import ComparisonError, Decision, Limits, verdict
    except ModuleNotFoundError as error:
        raise RegistryError(
            f"comparisons cannot be judged: the package {error.name} is missing: "
            "pip install 'topiccore[serve]'"
        ) from error
    address = canary.url.rstrip("/") + PATH
    content = _read(address, canary.token_file)
    limits = Limits(min_compared=canary.min_compared, max_differing=canary.max_differing)
    try:
        for role, wanted in (("candidate", identity), ("stable", against)):
            found = content.get(role)
            if wanted is not None and found != wanted:
                told = found[:12] if isinstance(found, str) else "none"
                raise RegistryError(f"{address}: its {role} is {told}, not {wanted[:12]}")
        judged = verdict(content, limits, candidate=identity, stable=against)
    except ComparisonError as error:
        raise RegistryError(f"{address}: no comparison: {error}") from error
    passed = judged.decision is Decision.PROMOTE
    text = "; ".join(judged.reasons)
    if judged.decision is Decision.WAIT:
        text = f"too early to tell: {text}"
    figures: dict[str, Any] = {"url": canary.url, "decision": judged.decision.value}
    figures |= {"stable": content["stable"], "candidate": content["candidate"]}
    figures |= {"min_compared": canary.min_compared, "max_differing": canary.max_differing}
    figures |= {name: content.get(name) for name in _KEPT}
    return Gate("canary", "passed" if passed else "failed", text, figures)


class _NoRedirects(HTTPRedirectHandler):
    # A token is for the service that was named, and for no other.
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _read(address: str, token_file: Path | None) -> dict[str, Any]:
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise RegistryError(f"{address!r} is not the address of a service, such as http://host:80")
    headers = {"Accept": "application/json"}
    if token_file is not None:
        headers["Authorization"] = f"Bearer {_token(token_file)}"
    opener = build_opener(_NoRedirects)
    try:
        with opener.open(Request(address, headers=headers), timeout=TIMEOUT_SECONDS) as answer:
            body = answer.read(MOST_BYTES + 1)
    except HTTPError as error:
        with error:
            hint = " (--canary-token)" if error.code == 401 else ""
            raise RegistryError(f"{address}: answers {error.code} {error.reason}{hint}") from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise RegistryError(f"{address}: cannot be asked: {reason}") from error
    try:
        content = json.loads(body) if len(body) <= MOST_BYTES else None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise RegistryError(f"{address}: the answer is no comparison of a topiccore service")
    return content


def _token(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RegistryError(f"{path}: cannot be read: {error}") from error
    for line in map(str.strip, lines):
        if line and not line.startswith("#"):
            if not _TOKEN.fullmatch(line):
                break
            return line
    # Whatever the line holds, it may be a secret.
    raise RegistryError(f"{path}: holds no bearer token")
