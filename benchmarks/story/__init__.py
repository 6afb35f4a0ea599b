"""A version's whole way under constant load: pushed, canary, promoted, refused, rolled back.

``python -m benchmarks.story`` runs the commands that docs/morning-to-afternoon.md shows, on this
machine, while the load generator asks 2,000 times a second, and holds every answer to what was
meant to be served when it came.
"""
