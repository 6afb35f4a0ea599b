"""A gunicorn worker that runs meinheld.

The worker class that comes with meinheld puts its own functions in the place of gunicorn's logger,
for the main process too, which then ends with the first worker that dies.
"""

from __future__ import annotations

import sys
from typing import Any

from gunicorn.workers.base import Worker
from meinheld import server

MOST_BYTES = 64 << 20
"""Of a body; the application refuses far smaller ones, and tells so."""


class MeinheldWorker(Worker):  # type: ignore[misc]
    """Runs meinheld's loop, which answers one request after the other."""

    def run(self) -> None:
        """Serves until the main process tells to stop."""
        server.set_access_logger(None)
        server.set_error_logger(self.log)
        server.set_keepalive(self.cfg.keepalive)
        server.set_max_content_length(MOST_BYTES)
        server.set_picoev_max_fd(self.cfg.worker_connections)
        # The loop itself tells the main process that it goes on.
        server.set_fastwatchdog(self.tmp.fileno(), self.ppid, int(self.timeout))
        server.set_listen_socket([socket.fileno() for socket in self.sockets])
        server.run(self.wsgi)

    def handle_quit(self, sig: int, frame: Any) -> None:
        """Stops after the requests that are under way."""
        server.stop(int(self.cfg.graceful_timeout))

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Stops after the requests that are under way."""
        server.stop(int(self.cfg.graceful_timeout))
        sys.exit(0)
