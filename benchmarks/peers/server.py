"""A peer's process, as its parent sees it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmarks import machine
from benchmarks.peers import cache


class Server:
    """A worker process that answers timed rounds."""

    def __init__(self, name: str, folder: Path, queries: Path):
        self.name = name
        self.process = subprocess.Popen(
            cache.worker_command("serve", name, folder, queries=queries),
            cwd=machine.ROOT,
            env={**os.environ, **cache.ENVIRONMENT},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.first = self._receive()

    def ask(self, *request: Any) -> Any:
        assert self.process.stdin is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return self._receive()

    def _receive(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.communicate()
            raise cache.PeerError(f"{self.name}: its process ended with {self.process.returncode}")
        return json.loads(line)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.communicate()
