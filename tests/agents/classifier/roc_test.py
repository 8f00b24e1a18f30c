"""Tests of roc."""

import math

import numpy as np
import pytest

from serl.agents.classifier import roc

PROBABILITY = np.array([0.9, 0.8, 0.8, 0.6, 0.3, 0.1])
SUCCESS = np.array([True, True, False, True, False, False])


def test_the_curve_by_hand():
  curve = roc.curve(PROBABILITY, SUCCESS)
  np.testing.assert_allclose(
    curve.threshold, [math.inf, 0.8, 0.6, 0.3, 0.1, -math.inf]
  )
  np.testing.assert_allclose(
    curve.false_positive_rate, [0, 0, 1 / 3, 1 / 3, 2 / 3, 1]
  )
  np.testing.assert_allclose(
    curve.true_positive_rate, [0, 1 / 3, 2 / 3, 1, 1, 1]
  )
  # Of the 9 pairs 7 are in order and one is a tie, which counts half.
  np.testing.assert_allclose(curve.area, 7.5 / 9)


def test_each_point_is_what_its_threshold_gives():
  curve = roc.curve(PROBABILITY, SUCCESS)
  for threshold, false, true in zip(*curve):
    counts = roc.confusion(PROBABILITY, SUCCESS, threshold)
    assert counts.false_positives == round(3 * false)
    assert counts.true_positives == round(3 * true)


@pytest.mark.parametrize(
  'probability, area', [([0.9, 0.1], 1.0), ([0.1, 0.9], 0), ([0.5, 0.5], 0.5)]
)
def test_area_of_the_extremes(probability, area):
  curve = roc.curve(np.array(probability), np.array([True, False]))
  assert curve.area == area


@pytest.mark.parametrize(
  'rate, threshold', [(0, 0.85), (0.3, 0.85), (1 / 3, 0.5), (0.7, 0.5)]
)
def test_the_threshold_keeps_to_its_rate(rate, threshold):
  found = roc.propose_threshold(PROBABILITY, SUCCESS, rate)
  np.testing.assert_allclose(found, threshold)
  counts = roc.confusion(PROBABILITY, SUCCESS, found)
  assert counts.false_positives <= rate * 3


def test_no_threshold_below_one_half():
  probability = np.array([0.3, 0.1])
  assert roc.propose_threshold(probability, np.array([True, False]), 0) == 0.5


def test_counts():
  assert roc.confusion(PROBABILITY, SUCCESS, 0.7) == (2, 1, 2, 1)


def test_the_wilson_bound():
  # Wilson 1927; e.g. Brown et al. 2001, 0 of 20: [0, 0.161].
  np.testing.assert_allclose(roc.rate_bound(0, 20), 0.1611, atol=1e-4)
  np.testing.assert_allclose(roc.rate_bound(20, 20), 1)
