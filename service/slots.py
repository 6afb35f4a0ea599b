"""A bound on how many threads do a thing at a time, which nobody waits for."""

from __future__ import annotations


class Slots:
    """So many may be taken; threads may share it."""

    __slots__ = ("_free",)

    def __init__(self, number: int):
        # To pop from a list and to append to it are atomic, and quicker than any lock.
        self._free = [None] * number

    def take(self) -> bool:
        """Whether there was one left, which is taken now."""
        try:
            self._free.pop()
        except IndexError:
            return False
        return True

    def give(self) -> None:
        """Gives one back."""
        self._free.append(None)
