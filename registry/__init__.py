"""The model registry: immutable versions in a folder, channels that point at them, and gates."""
