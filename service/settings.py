"""The settings of the service, and the environment variables that carry them to the workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from topiccore import MAX_QUERY_BYTES, TopiccoreError

MODEL_VARIABLE = "TOPICCORE_MODEL"
METRICS_FOLDER_VARIABLE = "TOPICCORE_METRICS_FOLDER"


class SettingsError(TopiccoreError):
    """A setting is missing or out of range; the message names the variable."""


def _whole(low: int, high: int, text: str) -> dict[str, Any]:
    return {"range": (low, high), "help": text}


def _help(text: str) -> dict[str, str]:
    return {"help": text}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a request may cost and what a worker does beside answering.

    Each field is also the option ``--max-query-bytes`` and the variable
    ``TOPICCORE_MAX_QUERY_BYTES``, named alike.
    """

    max_query_bytes: int = field(
        default=4096,
        metadata=_whole(1, MAX_QUERY_BYTES, "refuse longer queries, in bytes of UTF-8"),
    )
    max_batch_queries: int = field(
        default=1000, metadata=_whole(1, 100_000, "refuse larger batches")
    )
    max_batch_bytes: int = field(
        default=1 << 20, metadata=_whole(1, 1 << 30, "refuse longer bodies of batches, in bytes")
    )
    max_explained: int = field(
        default=10, metadata=_whole(0, 1000, "explain at most this many queries of a batch")
    )
    max_in_flight: int = field(
        default=128,
        metadata=_whole(1, 10_000, "requests that a worker has under way; more are answered 503"),
    )
    max_bodies: int = field(
        default=64,
        metadata=_whole(1, 10_000, "bodies that a worker reads at a time; more are answered 503"),
    )
    body_seconds: int = field(
        default=30,
        # Above the time limit on heads, by which idle connections are told from slow bodies.
        metadata=_whole(15, 3600, "end requests whose body takes longer, in seconds"),
    )
    watch: bool = field(
        default=False, metadata=_help("look every half second whether the artifact was replaced")
    )
    tokens: Path | None = field(
        default=None,
        metadata=_help("file of bearer tokens, one a line, of which a request must carry one"),
    )
    canary: Path | None = field(
        default=None,
        metadata=_help("second artifact, that answers a share of the requests and is compared"),
    )
    canary_share: float = field(
        default=0.05, metadata=_help("share of the requests that the canary answers, from 0 to 1")
    )
    shadow: Path | None = field(
        default=None, metadata=_help("second artifact, that is compared and answers nobody")
    )
    shadow_share: float = field(
        default=1.0,
        metadata=_help("share of the requests that the shadow is compared on, from 0 to 1"),
    )
    log_sample: float = field(
        default=0.0, metadata=_help("share of the answers that are logged, from 0 to 1")
    )
    log_queries: bool = field(
        default=False,
        metadata=_help("also log the text of queries"),
    )
    log_format: str = field(
        default="json",
        metadata=_help("json or text"),
    )

    def __post_init__(self) -> None:
        if self.canary is not None and self.shadow is not None:
            raise SettingsError("canary and shadow are both set; the service holds one of them")

    @property
    def max_body_bytes(self) -> int:
        """Of the body with one query: room for the longest in any JSON escapes."""
        # An escape such as \u0000 makes six bytes of one; the rest is for the other fields.
        return 6 * self.max_query_bytes + 1024

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """The settings of the variables ``TOPICCORE_...``; raises ``SettingsError``."""
        found = {}
        for one in fields(cls):
            text = environment.get(variable(one.name), "")
            if text:
                try:
                    found[one.name] = parse(one.name, text)
                except ValueError as error:
                    raise SettingsError(
                        f"{variable(one.name)} is {text[:100]!r}, not {error}"
                    ) from error
        return cls(**found)


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"TOPICCORE_{name.upper()}"


def parse(name: str, text: str) -> Any:
    """The value of a setting; raises ``ValueError`` that tells what it must be."""
    one = next(one for one in fields(Settings) if one.name == name)
    if "range" in one.metadata:
        return whole_number(text, *one.metadata["range"])
    if name in ("watch", "log_queries"):
        if text not in ("0", "1"):
            raise ValueError("0 or 1")
        return text == "1"
    if name in ("log_sample", "canary_share", "shadow_share"):
        return _share(text)
    if name == "log_format":
        if text not in ("json", "text"):
            raise ValueError("json or text")
        return text
    return Path(text)


def whole_number(text: str, low: int, high: int) -> int:
    """A number from ``low`` to ``high``; raises ``ValueError`` that tells the range."""
    # Longer digits than these are out of range, and int() would take its time over them.
    if text.isascii() and text.isdigit() and len(text) <= 18 and low <= int(text) <= high:
        return int(text)
    raise ValueError(f"a number from {low} to {high}")


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError("a number from 0 to 1")
    return value


def model_path(environment: Mapping[str, str]) -> Path:
    """The artifact directory that ``TOPICCORE_MODEL`` names; raises ``SettingsError``."""
    text = environment.get(MODEL_VARIABLE, "")
    if not text:
        raise SettingsError(f"{MODEL_VARIABLE} is not set; it names the artifact directory")
    return Path(text)


def to_environment(model: Path, settings: Settings) -> dict[str, str]:
    """The variables from which a worker reads the same model and settings again."""
    variables = {MODEL_VARIABLE: str(model.absolute())}
    for one in fields(Settings):
        value = getattr(settings, one.name)
        if isinstance(value, bool):
            value = int(value)
        elif isinstance(value, Path):
            value = value.absolute()
        variables[variable(one.name)] = "" if value is None else str(value)
    return variables
