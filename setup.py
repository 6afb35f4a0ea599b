"""Builds the one compiled module; its flags and directives are set here and nowhere else.

``TOPICCORE_DEBUG=1`` turns bounds checks and assertions on and optimisation off.
``TOPICCORE_SANITIZE=1`` builds with AddressSanitizer and UndefinedBehaviorSanitizer, ``=fuzzer``
with what a fuzzer needs besides (clang only); ``tools/sanitize.py`` and ``fuzz/`` use these.
"""

import os

from Cython.Build import cythonize
from setuptools import Extension, setup

DEBUG = os.environ.get("TOPICCORE_DEBUG") == "1"
SANITIZE = {
    "": [],
    "1": ["-fsanitize=address,undefined"],
    "fuzzer": ["-fsanitize=address,undefined,fuzzer-no-link"],
}[os.environ.get("TOPICCORE_SANITIZE", "")]

if DEBUG:
    optimisation = ["-O0", "-g"]
elif SANITIZE:
    optimisation = ["-O1", "-g", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all", *SANITIZE]
else:
    optimisation = ["-O3"]

extension = Extension(
    "topiccore._scoring",
    ["topiccore/_scoring.pyx"],
    depends=[
        "topiccore/_fold_table.h",
        "topiccore/_rows.h",
        "topiccore/_context.h",
        "topiccore/_scratch.h",
        "topiccore/_arrow.h",
    ],
    define_macros=[("TOPICCORE_DEBUG", "1")] if DEBUG else [("NDEBUG", "1")],
    # No contraction: every build gives the same bits (see topiccore/_rows.h).
    extra_compile_args=["-ffp-contract=off", *optimisation],
    extra_link_args=SANITIZE,
)

setup(
    ext_modules=cythonize(
        [extension],
        compiler_directives={
            "language_level": 3,
            "boundscheck": DEBUG,
            "wraparound": False,
            "initializedcheck": DEBUG,
            "cdivision": not DEBUG,
            "embedsignature": True,
            "freethreading_compatible": True,
        },
        force=True,  # C code of another build's directives looks up to date
    )
)
