"""Durations counted by the kernel, against a plain histogram."""

from bisect import bisect_left

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topiccore._scoring import Timings

BOUNDS = [5, 10, 100]


def timings(numbers=8):
    values = np.zeros(numbers, np.uint64)
    return values, Timings(memoryview(values), np.array(BOUNDS, np.int64))


@given(st.lists(st.integers(0, 2**40)))
def test_observe(durations):
    values, found = timings()
    for duration in [*durations, *BOUNDS]:
        found.observe(2, duration)
    expected = [0] * 8
    for duration in [*durations, *BOUNDS]:
        expected[2 + bisect_left(BOUNDS, duration)] += 1
        expected[6] += duration
    assert values.tolist() == expected


def test_add():
    values, found = timings()
    for place in (0, 7, 7):
        found.add(place)
    assert values.tolist() == [1, 0, 0, 0, 0, 0, 0, 2]


@pytest.mark.parametrize("place", [-1, 8, 2**40])
def test_places_outside_are_told(place):
    values, found = timings()
    with pytest.raises(IndexError, match=f"place {place} of 8"):
        found.add(place)
    with pytest.raises(IndexError, match=f"place {place} of 8"):
        found.observe(place, 1)
    with pytest.raises(IndexError, match="place 4 of 8"):
        found.observe(4, 1)
    assert not values.any()
