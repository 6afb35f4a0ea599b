"""A deployment on one machine: two services behind HAProxy, which stands in for the mesh.

``python -m tools.local`` starts, shows and stops it; ``python -m tools.release`` gives a new
artifact a share of its requests.  docs/morning-to-afternoon.md tells the whole way.
"""
