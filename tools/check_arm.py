"""Check that the kernel builds for 64-bit ARM and that its sums have the same bits there.

    python tools/check_arm.py

Needs aarch64-linux-gnu-gcc, its C library and qemu-aarch64 (Debian: gcc-aarch64-linux-gnu,
libc6-dev-arm64-cross, qemu-user), and topiccore/_scoring.c, which a build in place leaves behind.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLAGS = ["-std=gnu11", "-ffp-contract=off", f"-I{ROOT / 'topiccore'}"]
BUILDS = {
    "x86-64, dispatched": (["gcc", "-O3"], []),
    "x86-64, baseline": (["gcc", "-O3", "-DTOPICCORE_NO_DISPATCH"], []),
    "x86-64, no optimisation": (["gcc", "-O0", "-DTOPICCORE_DEBUG"], []),
    "ARM": (["aarch64-linux-gnu-gcc", "-O3", "-static"], ["qemu-aarch64"]),
    "ARM, no optimisation": (["aarch64-linux-gnu-gcc", "-O0", "-static"], ["qemu-aarch64"]),
}


def main() -> int:
    """Returns 0 when the module compiles for ARM and all builds print the same digest."""
    module = ROOT / "topiccore" / "_scoring.c"
    headers = f"-I{sysconfig.get_path('include')}"
    subprocess.run(
        ["aarch64-linux-gnu-gcc", *FLAGS, "-O3", "-fsyntax-only", headers, str(module)], check=True
    )
    print("_scoring.c compiles for ARM")
    digests = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (compiler, emulator) in BUILDS.items():
            program = str(Path(folder) / "digest")
            source = str(ROOT / "tools" / "rows_digest.c")
            subprocess.run([*compiler, *FLAGS, source, "-o", program], check=True)
            done = subprocess.run([*emulator, program], check=True, capture_output=True, text=True)
            digests[name] = done.stdout
            print(f"{name}: {done.stdout.split()[-1]}")
    return 0 if len(set(digests.values())) == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
