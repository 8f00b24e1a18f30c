"""Tests of report."""

import json

from matplotlib import image as image_lib
import numpy as np
import pytest

from serl.agents.classifier import data
from serl.agents.classifier import report as report_lib

RNG = np.random.default_rng(0)
EXAMPLES = data.Examples(
  images={
    'front': RNG.integers(0, 256, (6, 8, 8, 3)).astype(np.uint8),
    'stacked': RNG.integers(0, 256, (6, 2, 4, 4, 1)).astype(np.uint8),
  },
  success=np.array([True, True, False, True, False, False]),
  episode=np.array([0, 0, 0, 1, 1, 1]),
  snapshot=np.zeros(6, bool),
)
PROBABILITY = np.array([0.9, 0.8, 0.8, 0.6, 0.3, 0.1])


def test_the_numbers_by_hand():
  report = report_lib.make_report(EXAMPLES, PROBABILITY, 0.34)
  found = report.describe()
  assert found['threshold'] == 0.5
  assert found['false_positive_rate'] == pytest.approx(1 / 3)
  assert found['true_positive_rate'] == 1
  assert found['confusion'] == {
    'true_positives': 3,
    'false_positives': 1,
    'true_negatives': 2,
    'false_negatives': 0,
  }
  assert found['episodes'] == 2
  assert found['episodes_with_a_false_positive'] == 1
  assert 1 / 3 < found['false_positive_rate_at_most'] < 1


def test_a_given_threshold_is_tested():
  report = report_lib.make_report(EXAMPLES, PROBABILITY, threshold=0.85)
  found = report.describe()
  assert found['threshold'] == 0.85
  assert found['confusion']['true_positives'] == 1
  assert found['episodes_with_a_false_positive'] == 0


def test_writes_numbers_and_a_picture(tmp_path):
  report = report_lib.make_report(EXAMPLES, PROBABILITY, 0.34)
  numbers, picture = report_lib.write(report, tmp_path / 'new')
  assert json.loads(numbers.read_text()) == report.describe()
  pixels = image_lib.imread(picture)
  assert pixels.shape[0] > 400 and pixels.std() > 0.05


def test_shows_the_worst_failures_first():
  figure = report_lib.draw(report_lib.make_report(EXAMPLES, PROBABILITY, 0.34))
  curve, confusion, *pictures = figure.axes
  assert 'area 0.8333' in curve.get_title()
  assert '1 with a false positive' in confusion.get_title()
  # One for each failure.
  titles = [panel.get_title() for panel in pictures]
  assert len(titles) == 3
  assert titles[0].startswith('FALSE POSITIVE\np = 0.8, episode 0')
  assert titles[1].startswith('failure\np = 0.3, episode 1')
  (shown,) = pictures[0].images
  # The cameras below one another; of a stack the last frame.
  assert shown.get_array().shape == (12, 8, 3)
  np.testing.assert_array_equal(
    shown.get_array()[:8], EXAMPLES.images['front'][2]
  )
  np.testing.assert_array_equal(
    shown.get_array()[8:, :4, 0], EXAMPLES.images['stacked'][2, 1, ..., 0]
  )


@pytest.mark.parametrize(
  'rate, threshold, message',
  [(1.0, None, 'rate of false positives is 1'), (0.1, 1.5, 'threshold is 1.5')],
)
def test_refuses_what_is_no_rate(rate, threshold, message):
  with pytest.raises(ValueError, match=message):
    report_lib.make_report(EXAMPLES, PROBABILITY, rate, threshold)


def test_a_failure_that_looks_like_nothing_but_success_is_told(caplog):
  probability = np.array([1.0, 1.0, 1.0, 1.0, 0.2, 0.1])
  report = report_lib.make_report(EXAMPLES, probability, 0.0)
  assert report.threshold == 1
  assert 'No threshold keeps to 0 of false positives' in caplog.text
