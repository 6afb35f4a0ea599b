"""The bend of a calibration: found where there is one, and monotone."""

import numpy as np
import pytest

from training.bends import STRAIGHT, bent, fit_bend, straightened
from training.student import sigmoid


def drawn(knee: float, steepness: float, pairs: int = 400_000, seed: int = 3):
    """(log-odds, right) of pairs whose true log-odds are bent."""
    rng = np.random.default_rng(seed)
    values = rng.normal(-2, 2.5, pairs)
    return values, rng.random(pairs) < sigmoid(bent(values, knee, steepness))


@pytest.mark.parametrize(("knee", "steepness"), [(-1.5, 1.0), (0.0, 0.4), (-2.0, -0.5)])
def test_a_bend_is_found(knee, steepness):
    found = fit_bend(*drawn(knee, steepness))
    assert found == (knee, pytest.approx(steepness, abs=0.1))


def test_what_is_straight_stays_nearly_so():
    knee, steepness = fit_bend(*drawn(0, 0))
    values = np.linspace(-6, 4, 100)
    assert bent(values, knee, steepness) == pytest.approx(values, abs=0.25)


def test_it_is_the_bend_that_makes_the_pairs_likeliest():
    values, right = drawn(-1.0, 0.8, 20_000)

    def loss(knee, steepness):
        z = bent(values, knee, steepness)
        return (np.logaddexp(0, z) - right * z).mean()

    knee, steepness = fit_bend(values, right)
    for other in (-0.2, -0.05, 0.05, 0.2):
        assert loss(knee, steepness) < loss(knee, steepness + other)
    for other in (-0.5, 0.5):
        assert loss(knee, steepness) < loss(knee + other, steepness)


@pytest.mark.parametrize(
    ("values", "right"),
    [
        (np.zeros((0, 3)), np.zeros((0, 3), bool)),
        (np.zeros((5, 0)), np.zeros((5, 0), bool)),
        (np.linspace(-9, 3, 500), np.zeros(500, bool)),
        (np.linspace(-9, 3, 500), np.ones(500, bool)),
        (np.linspace(-9, 3, 40), np.arange(40) > 30),
        (np.linspace(1.5, 9, 500), np.arange(500) > 100),
    ],
    ids=["no query", "no label", "none right", "all right", "too few", "none below a knee"],
)
def test_without_evidence_it_is_straight(values, right):
    assert fit_bend(values, right) == STRAIGHT


def test_overflows_do_no_harm():
    values, right = drawn(-1.5, 1.0, 50_000)
    values[:2] = 1e12, -1e12
    assert np.isfinite(fit_bend(values, right)).all()


@pytest.mark.parametrize("steepness", [-0.9, 0.0, 0.4, 20.0])
def test_bent_and_straightened_are_inverse_and_rise(steepness):
    values = np.linspace(-10, 10, 401)
    there = bent(values, -1.5, steepness)
    assert (np.diff(there) > 0).all()
    assert straightened(there, -1.5, steepness) == pytest.approx(values)
