"""The page for people at ``/``: static files, the same for everyone."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files

import falcon

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_INDEX = "index.html"
_FOLDER = files("service") / "static"
_LEAST_PACKED = 512
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Nothing but the page's own files, and no text may become markup or script."""


@dataclass(frozen=True, slots=True)
class _File:
    content_type: str
    data: bytes
    packed: bytes | None
    """The data in gzip, where that is worth it."""
    etag: str
    """Of the data as they are; those in gzip have ``-gzip`` behind it."""


@cache
def _read() -> dict[str, _File]:
    found = {}
    for one in _FOLDER.iterdir():
        _, _, ending = one.name.rpartition(".")
        if ending in _TYPES:
            data = one.read_bytes()
            found["/" if one.name == _INDEX else f"/static/{one.name}"] = _File(
                _TYPES[ending],
                data,
                gzip.compress(data, mtime=0) if len(data) >= _LEAST_PACKED else None,
                sha256(data).hexdigest()[:20],
            )
    return found


PATHS = frozenset(_read())
"""The paths of the page, which need no token: what they show does."""


class PageResource:
    """A file of the page.  Clients keep it, and ask whether it has changed."""

    def __init__(self, path: str):
        self._file = _read()[path]

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Gives the file, in gzip to those who take it; 304 to those who have it."""
        file = self._file
        packed = file.packed if _takes_gzip(req.get_header("Accept-Encoding") or "") else None
        etag = file.etag if packed is None else f"{file.etag}-gzip"
        resp.etag = etag
        resp.cache_control = ["no-cache"]
        resp.set_header("Content-Security-Policy", POLICY)
        if file.packed is not None:
            resp.append_header("Vary", "Accept-Encoding")
        if any(one in ("*", etag) for one in req.if_none_match or ()):
            resp.status = falcon.HTTP_304
            return
        resp.content_type = file.content_type
        if packed is not None:
            resp.set_header("Content-Encoding", "gzip")
        resp.data = file.data if packed is None else packed

    on_head = on_get


def _takes_gzip(header: str) -> bool:
    for one in header.lower().split(","):
        name, *parameters = (part.strip() for part in one.split(";"))
        if name == "gzip":
            return not any(part.replace(" ", "") in _NEVER for part in parameters)
    return False


_NEVER = frozenset({"q=0", "q=0.0", "q=0.00", "q=0.000"})
