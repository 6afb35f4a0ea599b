"""Load and failure tests of the service, on this machine's loopback only.

``generator.c`` sends at a constant rate and measures from when each request was due;
``bars`` holds the service to its figures beside other servers, ``failures`` is unkind to it,
``soak`` watches its memory.  docs/load.md tells how to run and read them.
"""
