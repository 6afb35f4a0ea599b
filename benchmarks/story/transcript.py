"""Running commands as a person would, and keeping what they print."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.machine import ROOT


class UnexpectedError(Exception):
    """A command did not end as it should; the message has what it printed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A command, its exit code, its output (both streams) and the seconds that it took."""

    command: str
    code: int
    output: str
    seconds: float


@dataclass
class Transcript:
    """Commands that are run in the project's folder; each is told as it ends."""

    environment: Mapping[str, str] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)

    def run(self, command: str, code: int = 0) -> Entry:
        """Runs a command; raises ``UnexpectedError`` when it ends with another code."""
        started = time.monotonic()
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            shlex.split(command),
            cwd=ROOT,
            env=os.environ | {"PATH": path} | dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        entry = Entry(command, done.returncode, done.stdout, time.monotonic() - started)
        self.entries.append(entry)
        print(f"$ {command}\n{entry.output.rstrip()}", flush=True)
        if entry.code != code:
            raise UnexpectedError(f"{command}: ended with {entry.code}, not {code}")
        return entry

    def markdown(self) -> str:
        """All of it as a console block."""
        parts = []
        for entry in self.entries:
            parts.append(f"$ {entry.command}\n{entry.output.rstrip()}".rstrip())
            if entry.code:
                parts.append(f"$ echo $?\n{entry.code}")
        return "```console\n" + "\n".join(parts) + "\n```\n"
