"""The limits of the service, and the environment variables that carry them to the workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from topiccore import MAX_QUERY_BYTES, TopiccoreError

MODEL_VARIABLE = "TOPICCORE_MODEL"
MAX_QUERY_BYTES_VARIABLE = "TOPICCORE_MAX_QUERY_BYTES"


class SettingsError(TopiccoreError):
    """A setting is missing or out of range; the message names the variable."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a request may cost, in bytes."""

    max_query_bytes: int = 4096
    """Of the query in UTF-8, after percent-decoding or JSON decoding."""

    @property
    def max_body_bytes(self) -> int:
        """Of the whole body of a request: room for the longest query in any JSON escapes."""
        # An escape such as \u0000 makes six bytes of one; the rest is for the other fields.
        return 6 * self.max_query_bytes + 1024

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """The settings of ``TOPICCORE_MAX_QUERY_BYTES``; raises ``SettingsError``."""
        text = environment.get(MAX_QUERY_BYTES_VARIABLE, "")
        if not text:
            return cls()
        # Longer digits than these are out of range, and int() would take its time over them.
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else -1
        if not 1 <= number <= MAX_QUERY_BYTES:
            raise SettingsError(
                f"{MAX_QUERY_BYTES_VARIABLE} is {text!r}, not a number from 1 to {MAX_QUERY_BYTES}"
            )
        return cls(number)


def model_path(environment: Mapping[str, str]) -> Path:
    """The artifact directory that ``TOPICCORE_MODEL`` names; raises ``SettingsError``."""
    text = environment.get(MODEL_VARIABLE, "")
    if not text:
        raise SettingsError(f"{MODEL_VARIABLE} is not set; it names the artifact directory")
    return Path(text)


def to_environment(model: Path, settings: Settings) -> dict[str, str]:
    """The variables from which a worker reads the same model and settings again."""
    return {
        MODEL_VARIABLE: str(model.absolute()),
        MAX_QUERY_BYTES_VARIABLE: str(settings.max_query_bytes),
    }
