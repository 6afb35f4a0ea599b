"""Build the kernel with sanitizers and coverage, and fuzz it.

    python fuzz/run.py [--seconds 600] [--target score|cells]

Needs clang (``$CC``, else clang), and the packages of the extra ``fuzz``.  Works on a copy in a
temporary folder; what it finds, and the corpus, stay in ``--folder``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[1]
SEEDS = [
    *(b"\0used honda civic", b"\1Caf\xc3\xa9 \xe6\x9d\xb1\xe4\xba\xac", b"\2" + b"a " * 300),
    *(b"\3\xff\xfe\xed\xa0\x80", "\4🚗🚗 가 ﷺ ½ İ e\u0301".encode(), b"\5x\0y-z_1", b"\0"),
]
WORDS = [
    b"used ",
    b"honda",
    b"a b ",
    "東京".encode(),
    "🚗".encode(),
    b"\xe2\x80\x8d",
    b"\xef\xbf\xbd",
]


def build(folder: Path) -> None:
    """Copies the core and the targets to ``folder`` and builds it there, instrumented."""
    skipped = shutil.ignore_patterns("*.so", "*.c", "__pycache__")
    for name in ("topiccore", "fuzz"):
        shutil.copytree(ROOT / name, folder / name, ignore=skipped)
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    compiler = os.environ.get("CC", "clang")
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
        cwd=folder,
        env=os.environ
        | {"CC": compiler, "LDSHARED": f"{compiler} -shared", "TOPICCORE_SANITIZE": "fuzzer"},
        check=True,
    )


def fuzz(folder: Path, target: str, seconds: int, results: Path) -> int:
    """Runs one target; returns libFuzzer's exit code, 0 when nothing was found."""
    corpus = results / f"corpus-{target}"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = results / "words.dict"
    escaped = ["".join(f"\\x{byte:02x}" for byte in word) for word in WORDS]
    words.write_text("".join(f'"{word}"\n' for word in escaped))
    options = [
        *(f"-max_total_time={seconds}", f"-dict={words}", f"-artifact_prefix={results}/"),
        *(
            f"-max_len={700 if target == 'score' else 4096}",
            "-timeout=120",
            "-rss_limit_mb=4096",
            "-print_final_stats=1",
        ),
    ]
    environment = os.environ | {
        "LD_PRELOAD": str(Path(atheris.path()) / "asan_with_fuzzer.so"),
        "PYTHONPATH": str(folder),
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=64",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    script = str(folder / "fuzz" / f"fuzz_{target}.py")
    command = [sys.executable, script, *options, str(corpus)]
    return subprocess.run(command, cwd=folder, env=environment).returncode


def main() -> int:
    """Builds once and runs the targets one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=600, help="for each target")
    parser.add_argument("--target", choices=["score", "cells"], action="append")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "fuzz")
    arguments = parser.parse_args()
    results = arguments.folder.resolve()
    with tempfile.TemporaryDirectory(prefix="topiccore-fuzz-") as name:
        build(Path(name))
        codes = [
            fuzz(Path(name), target, arguments.seconds, results)
            for target in arguments.target or ["score", "cells"]
        ]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
