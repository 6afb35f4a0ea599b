"""Bearer tokens (RFC 6750): which requests may ask."""

from __future__ import annotations

import hmac
import logging
import os
import re
import stat
from hashlib import sha256
from pathlib import Path

from topiccore import TopiccoreError

logger = logging.getLogger(__name__)

_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]{16,1024}=*")


class TokensError(TopiccoreError):
    """The file of tokens cannot be read or holds something else; the message names the line."""


class Tokens:
    """The tokens of a file: one a line, blank lines and lines from ``#`` left out.

    Several are allowed at a time, so that a new one can be given out before an old one goes.
    """

    def __init__(self, path: Path):
        self._path = path
        self._digests: tuple[bytes, ...] = ()
        self.read()

    def read(self) -> None:
        """Takes up what the file holds now; raises ``TokensError`` and keeps the old ones."""
        try:
            lines = self._path.read_bytes().splitlines()
        except OSError as error:
            raise TokensError(f"{self._path}: {error.strerror}") from error
        digests = []
        for number, line in enumerate(lines, 1):
            token = line.strip()
            if not token or token.startswith(b"#"):
                continue
            if not _TOKEN.fullmatch(token):
                raise TokensError(
                    f"{self._path}, line {number}: no bearer token of 16 to 1024 characters"
                )
            digests.append(sha256(token).digest())
        if not digests:
            raise TokensError(f"{self._path}: holds no token")
        self._digests = tuple(digests)

    def allow(self, authorization: str | None) -> bool:
        """Whether the value of a header ``Authorization`` carries one of the tokens.

        The time that it takes tells nothing of the tokens: digests are compared, all of them.
        """
        if authorization is None or authorization[:7].lower() != "bearer ":
            return False
        given = sha256(authorization[7:].strip().encode("utf-8", "replace")).digest()
        found = False
        for digest in self._digests:
            found |= hmac.compare_digest(given, digest)
        return found


def warn_of_readers(path: Path) -> None:
    """Logs a warning when every user of the machine can read the file."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        # Reading it tells more.
        return
    if mode & stat.S_IROTH:
        logger.warning("%s: every user of this machine can read the tokens (chmod 600)", path)
