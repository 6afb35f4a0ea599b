"""Logs as JSON, a line each, written by a thread that requests do not wait for."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import queue
import random
import threading
import time
from typing import Any

from service.environ import BATCH, LOADED, QUERY, REQUEST_ID
from service.live import LoadedModel
from service.request_id import traceparent
from service.request_meter import ROUTES, is_failure

WAITING = 10_000
"""Lines that may wait to be written; more are left out, and their number is told."""
FLUSH_SECONDS = 0.5
"""How long a process that ends waits for its last lines to be written."""
_ROUTES = frozenset(ROUTES)

access = logging.getLogger("service.access")


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON, with the fields that it brings along."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        content: dict[str, Any] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}"
            f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name.lstrip("_"),
            "pid": record.process,
            "message": record.getMessage(),
        }
        content |= getattr(record, "fields", {})
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        return json.dumps(content)


class TextFormatter(logging.Formatter):
    """A record for people, with the fields that it brings along."""

    def __init__(self) -> None:
        super().__init__("[%(levelname)s] %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The line or lines."""
        fields = " ".join(f"{k}={v}" for k, v in getattr(record, "fields", {}).items())
        return f"{super().format(record)} {fields}".rstrip()


class BackgroundHandler(logging.Handler):
    """Writes records to standard error in a thread of its own, for which nobody waits.

    The thread starts with the first record of each process, forked ones too.
    """

    def __init__(self) -> None:
        super().__init__()
        self._queue: queue.Queue[logging.LogRecord] = queue.Queue(WAITING)
        self._dropped = 0
        self._process = 0
        # Without a buffer and its lock, which a process that ends would wait for.
        self.stream: io.RawIOBase = io.FileIO(2, "w", closefd=False)

    def _start(self) -> None:
        # What a forked process inherits is the other process's to write.
        self._queue = queue.Queue(WAITING)
        self._dropped = 0
        self._process = os.getpid()
        threading.Thread(target=self._write, args=(self._queue,), name="logs", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Hands the record to the thread, or counts it as left out."""
        if self._process != os.getpid():
            self._start()
        if self._dropped:
            record.fields = getattr(record, "fields", {}) | {"left_out_before": self._dropped}
        try:
            self._queue.put_nowait(record)
            self._dropped = 0
        except queue.Full:
            self._dropped += 1

    def flush(self) -> None:
        """Waits until all is written, but not for long."""
        end = time.monotonic() + FLUSH_SECONDS
        while self._queue.unfinished_tasks and time.monotonic() < end:
            time.sleep(0.005)

    def _write(self, records: queue.Queue[logging.LogRecord]) -> None:
        while True:
            record = records.get()
            # A full disk loses lines and nothing else.
            with contextlib.suppress(Exception):
                self.stream.write(f"{self.format(record)}\n".encode())
            records.task_done()


def configuration(log_format: str) -> dict[str, Any]:
    """What ``logging.config`` makes the loggers of, in the main process and in the workers."""
    formatter = JsonFormatter if log_format == "json" else TextFormatter
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"service": {"()": formatter}},
        "handlers": {"service": {"()": BackgroundHandler, "formatter": "service"}},
        "root": {"handlers": ["service"], "level": "WARNING"},
        "loggers": {
            name: {"handlers": ["service"], "level": "INFO", "propagate": False}
            for name in ("_granian", "gunicorn.error", "service")
        },
    }


class AccessLog:
    """Writes a share of the answers down, and every failure of the server."""

    def __init__(self, share: float, queries: bool):
        self._share = share
        self._queries = queries

    def answered(
        self, environ: dict[str, Any], status: str, nanoseconds: int, kernel: int | None
    ) -> None:
        """Logs an answer, or leaves it out."""
        if not self._share and status[0] != "5":
            return
        failed = is_failure(status)
        if not failed and random.random() >= self._share:
            return
        path = environ["PATH_INFO"]
        loaded: LoadedModel = environ[LOADED]
        fields: dict[str, Any] = {
            "request_id": environ[REQUEST_ID],
            "method": environ["REQUEST_METHOD"],
            # Another path may be what a person searched for.
            "route": path if path in _ROUTES else "other",
            "status": int(status),
            "milliseconds": round(nanoseconds / 1e6, 4),
            "model": loaded.model.id,
        }
        if kernel is not None:
            fields["kernel_milliseconds"] = round(kernel / 1e6, 4)
        if (trace := traceparent(environ)) is not None:
            fields["trace_id"] = trace[3:35]
        if BATCH in environ:
            fields["queries"] = environ[BATCH]
        if self._queries and QUERY in environ:
            fields["query"] = environ[QUERY].decode("utf-8", "replace")
        level = logging.ERROR if failed else logging.INFO
        access.log(level, "answered", extra={"fields": fields})
