"""The two C programs of this package, compiled when they are first needed."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
from pathlib import Path

from benchmarks.machine import ROOT

FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror", "-std=gnu11")


class CompilerError(Exception):
    """A program does not compile, or there is no compiler."""


def program(name: str, folder: Path = ROOT / "build" / "load") -> Path:
    """The program made of ``<name>.c``, kept in ``folder`` under the checksum of its source.

    The compiler is ``$CC``, else ``cc``.  Raises ``CompilerError``.
    """
    source = Path(__file__).with_name(f"{name}.c")
    digest = hashlib.sha256(source.read_bytes() + " ".join(FLAGS).encode()).hexdigest()[:16]
    path = folder / f"{name}-{digest}"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    compiler = shlex.split(os.environ.get("CC", "cc"))
    try:
        subprocess.run(
            [*compiler, *FLAGS, str(source), "-o", str(partial), "-lm"],
            check=True,
            capture_output=True,
            text=True,
        )
        partial.replace(path)
    except FileNotFoundError as error:
        raise CompilerError(f"there is no compiler {compiler[0]}") from error
    except subprocess.CalledProcessError as error:
        raise CompilerError(f"{source.name} does not compile:\n{error.stderr}") from error
    finally:
        partial.unlink(missing_ok=True)
    return path
