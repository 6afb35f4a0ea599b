"""Build the kernel with AddressSanitizer and UndefinedBehaviorSanitizer and run its tests with it.

    python tools/sanitize.py [pytest arguments]

Works on a copy in a temporary folder, so that the build in use stays.  Needs a compiler with the
sanitizers' runtime (``$CC``, else gcc) and the packages of the extra ``dev``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("setup.py", "pyproject.toml", "topiccore", "tests")
TESTS = (
    *("tokenizer", "kernel", "context", "compaction", "model"),
    *("artifact", "arrow", "threads", "hostile"),
)


def build(folder: Path, compiler: str) -> None:
    """Copies the core to ``folder`` and builds it there, instrumented."""
    for name in NEEDED:
        source = ROOT / name
        if source.is_dir():
            skipped = shutil.ignore_patterns("*.so", "*.c", "__pycache__", "service")
            shutil.copytree(source, folder / name, ignore=skipped)
        else:
            shutil.copy(source, folder / name)
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
        cwd=folder,
        env=os.environ | {"CC": compiler, "TOPICCORE_SANITIZE": "1"},
        check=True,
    )


def runtime(compiler: str) -> str:
    """What must be loaded before Python: the sanitizer's library, and C++'s for those who throw."""
    found = []
    for name in ("libasan.so", "libubsan.so", "libstdc++.so"):
        path = subprocess.run(
            [compiler, f"-print-file-name={name}"], capture_output=True, text=True, check=True
        ).stdout.strip()
        if os.path.isabs(path):
            found.append(str(Path(path).resolve()))
    return " ".join(found)


def main() -> int:
    """Builds, tests, and returns pytest's exit code."""
    compiler = os.environ.get("CC", "gcc")
    with tempfile.TemporaryDirectory(prefix="topiccore-sanitize-") as name:
        folder = Path(name)
        build(folder, compiler)
        tests = sys.argv[1:] or [f"tests/test_{area}.py" for area in TESTS]
        environment = os.environ | {
            "LD_PRELOAD": runtime(compiler),
            "PYTHONPATH": str(folder),
            "PYTHONMALLOC": "malloc",  # so that a str's end is the end of its memory
            # Python itself leaks at its end, and NumPy's allocations are large.
            "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
            "UBSAN_OPTIONS": "print_stacktrace=1",
        }
        check = "import topiccore._scoring as s; print('testing', s.__file__)"
        subprocess.run([sys.executable, "-c", check], cwd=folder, env=environment, check=True)
        # The sanitizers write to the file descriptor, which pytest must not take.
        options = ["-p", "no:cacheprovider", "--capture=sys"]
        command = [sys.executable, "-m", "pytest", *options, *tests]
        return subprocess.run(command, cwd=folder, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
