"""Tests of data."""

import numpy as np
import pytest

from serl import specs
from serl.agents.classifier import data

SPEC = {'front': specs.Array((16, 16, 3), np.uint8)}


def test_a_label_is_of_what_its_step_led_to(make_episode):
  episode = make_episode([0, 1, 0, 1])
  examples = data.from_episodes([episode], SPEC)
  np.testing.assert_array_equal(examples.success, [False, True, False, True])
  np.testing.assert_array_equal(
    examples.images['front'], episode.observation['front'][1:]
  )
  bright = examples.images['front'].mean(axis=(1, 2, 3)) > 100
  np.testing.assert_array_equal(bright, examples.success)


def test_what_is_unclear_is_left_out(make_episode):
  episode = make_episode([0, 1, 0, 1])
  unclear = np.array([0, 1, 0, 0], np.uint8)
  episode = episode._replace(extras={**episode.extras, 'unclear': unclear})
  examples = data.from_episodes([make_episode([0, 0]), episode], SPEC)
  np.testing.assert_array_equal(examples.success, [0, 0, 0, 0, 1])
  np.testing.assert_array_equal(examples.episode, [0, 0, 1, 1, 1])
  np.testing.assert_array_equal(
    examples.images['front'][2:], episode.observation['front'][[1, 3, 4]]
  )
  torn = episode._replace(extras={**episode.extras, 'unclear': unclear[:3]})
  with pytest.raises(ValueError, match=r"extras\['unclear'\] has shape \(3,\)"):
    data.from_episodes([torn], SPEC)


def test_no_episode_is_on_both_sides(episodes):
  examples = data.from_episodes(episodes, SPEC)
  training, held_out = data.split(examples, 0.25, seed=3)
  apart = set(training.episode), set(held_out.episode)
  assert not apart[0] & apart[1]
  assert len(apart[0]) == 5 and len(apart[1]) == 3
  # Of those without a success one is on either side.
  assert len(apart[1] & {6, 7}) == 1
  for part in (training, held_out):
    assert part.success.any() and not part.success.all()
  again = data.split(examples, 0.25, seed=3)[1]
  np.testing.assert_array_equal(again.episode, held_out.episode)


def test_of_snapshots_the_last_are_held_out(make_episode):
  # Two files of one recording: each transition went to one of them.
  def shots(label):
    for _ in range(20):
      episode = make_episode([label])
      marked = {**episode.extras, 'snapshot': np.ones(1, np.uint8)}
      yield episode._replace(extras=marked)

  examples = data.from_episodes([*shots(1), *shots(0)], SPEC)
  training, held_out = data.split(examples, 0.25, seed=3)
  assert held_out.episode.tolist() == [*range(15, 20), *range(35, 40)]
  assert not set(training.episode) & set(held_out.episode)


@pytest.mark.parametrize('lengths', [[40], [38, 2], [20, 20], [10, 20, 10]])
def test_a_few_stretches_of_snapshots_are_cut_with_a_gap(make_episode, lengths):
  def stretches(label):
    for length in lengths:
      episode = make_episode([label] * length)
      marked = {**episode.extras, 'snapshot': np.ones(length, np.uint8)}
      # Each image of a class has a value of its own.
      front = np.zeros((length + 1, 16, 16, 3), np.uint8)
      front += np.arange(length + 1, dtype=np.uint8)[:, None, None, None]
      yield episode._replace(observation={'front': front}, extras=marked)

  examples = data.from_episodes([*stretches(1), *stretches(0)], SPEC)
  training, held_out = data.split(examples, 0.25, seed=3)
  for success in (True, False):
    kept = (training.success == success).sum()
    out = (held_out.success == success).sum()
    assert out == 10
    # Those right before them are on neither side.
    assert 40 - kept - out == (0 if lengths[-1] == 10 else 7)


def test_too_few_snapshots_are_refused_with_what_to_do(make_episode):
  def shot(label):
    episode = make_episode([label])
    marked = {**episode.extras, 'snapshot': np.ones(1, np.uint8)}
    return episode._replace(extras=marked)

  examples = data.from_episodes([shot(1), shot(0)], SPEC)
  with pytest.raises(ValueError, match='more images in each file of snapshots'):
    data.split(examples, 0.25)


def test_half_of_a_minibatch_are_successes(make_episode):
  examples = data.from_episodes([make_episode([0] * 99 + [1])], SPEC)
  images, label = data.draw(np.random.default_rng(0), examples, 8)
  assert label.dtype == np.float32 and label.sum() == 4
  bright = images['front'].mean(axis=(1, 2, 3)) > 100
  np.testing.assert_array_equal(bright, label == 1)


def test_refuses_a_single_class(make_episode):
  with pytest.raises(ValueError, match='0 successes and 4 failures'):
    data.from_episodes([make_episode([0] * 4)], SPEC)
  with pytest.raises(ValueError, match='4 successes and 0 failures'):
    data.from_episodes([make_episode([1] * 4)], SPEC)


def test_refuses_a_split_that_leaves_a_side_without_a_class(make_episode):
  examples = data.from_episodes([make_episode([0, 1])] * 1, SPEC)
  with pytest.raises(ValueError, match=r'training part .* 0 successes and 0'):
    data.split(examples, 0.5)
  with pytest.raises(ValueError, match='held_out_fraction is 1'):
    data.split(examples, 1)


def test_refuses_an_episode_of_one_step(make_episode):
  single = make_episode([1])
  with pytest.raises(ValueError, match='Episode 1 has 1 step, expected'):
    data.from_episodes([make_episode([0, 1]), single], SPEC)
  # Transitions that were picked out one by one are no episodes cut off.
  extras = {**single.extras, data.SNAPSHOT: np.ones(1, np.uint8)}
  examples = data.from_episodes(
    [make_episode([0, 1]), single._replace(extras=extras)], SPEC
  )
  assert examples.success.tolist() == [False, True, True]


def test_refuses_labels_that_are_none(make_episode):
  episode = make_episode([0, 1])
  without = episode._replace(extras={'time': np.zeros(2)})
  with pytest.raises(ValueError, match=r"no extras\['success'\].*'time'"):
    data.from_episodes([without], SPEC)
  for labels in (np.array([0, 2]), np.array([0.5, 1.0]), np.array([1])):
    wrong = episode._replace(extras={'success': labels})
    with pytest.raises(ValueError, match='of 0 and 1'):
      data.from_episodes([wrong], SPEC)


def test_refuses_images_that_are_not_bytes(make_episode):
  episode = make_episode([0, 1])
  floats = episode.observation['front'].astype(np.float32)
  wrong = episode._replace(observation={'front': floats})
  with pytest.raises(
    ValueError, match=r'episode 0: front .* float32, .* uint8'
  ):
    data.from_episodes([wrong], SPEC)
  with pytest.raises(ValueError, match=r'no front, only'):
    data.from_episodes([episode._replace(observation={'a': floats})], SPEC)
