"""Tests for adders."""

import collections
import tracemalloc

import dm_env
import numpy as np
import pytest

from serl import core
from serl.replay import adders
from serl.testing import fakes


def _step(value, last=False, discount=1.0):
  observation = {'x': np.full(2, value, np.float32)}
  step_type = dm_env.StepType.LAST if last else dm_env.StepType.MID
  return dm_env.TimeStep(step_type, np.float64(value), discount, observation)


def _first():
  return dm_env.restart({'x': np.zeros(2, np.float32)})


def test_is_an_adder():
  assert isinstance(adders.EpisodeAdder([]), core.Adder)


def test_stacks_an_episode_at_its_end():
  episodes = []
  adder = adders.EpisodeAdder([episodes.append])
  adder.add_first(_first())
  adder.add(np.float32([0.1]), _step(1.0))
  assert not episodes
  adder.add(np.float32([0.2]), _step(2.0, last=True, discount=0.0))

  (episode,) = episodes
  np.testing.assert_array_equal(
    episode.observation['x'], [[0, 0], [1, 1], [2, 2]]
  )
  np.testing.assert_array_equal(episode.action, np.float32([[0.1], [0.2]]))
  np.testing.assert_array_equal(episode.reward, [1, 2])
  np.testing.assert_array_equal(episode.discount, [1, 0])
  assert episode.reward.dtype == episode.discount.dtype == np.float32


def test_copies_the_buffers_that_environment_and_actor_reuse():
  episodes = []
  adder = adders.EpisodeAdder([episodes.append])
  observation = np.zeros(1, np.float32)
  action = np.zeros(1, np.float32)
  adder.add_first(dm_env.restart(observation))
  for value in (1.0, 2.0):
    observation[:] = action[:] = value
    adder.add(action, dm_env.transition(0.0, observation))
  adder.add(action, dm_env.truncation(0.0, observation))
  assert episodes[0].observation.ravel().tolist() == [0, 1, 2, 2]
  assert episodes[0].action.ravel().tolist() == [1, 2, 2]


def test_gives_an_episode_to_the_sinks_in_order():
  order = []
  sinks = [lambda _: order.append('log'), lambda _: order.append('replay')]
  adder = adders.EpisodeAdder(sinks)
  adder.add_first(_first())
  adder.add(np.float32([0]), _step(1.0, last=True))
  assert order == ['log', 'replay']


def test_begins_anew_and_drops_the_unfinished_episode():
  episodes = []
  adder = adders.EpisodeAdder([episodes.append])
  adder.add_first(_first())
  adder.add(np.float32([0]), _step(5.0))
  adder.add_first(_first())
  adder.add(np.float32([0]), _step(1.0, last=True))
  assert [e.reward.tolist() for e in episodes] == [[1.0]]


def test_an_episode_may_be_longer_than_any_before():
  episodes = []
  adder = adders.EpisodeAdder([episodes.append])
  lengths = (300, 2, 700)
  for length in lengths:
    adder.add_first(_first())
    for step in range(1, length + 1):
      adder.add(np.float32([step]), _step(step, last=step == length))
  for episode, length in zip(episodes, lengths):
    steps = np.arange(1, length + 1)
    np.testing.assert_array_equal(episode.action[:, 0], steps)
    np.testing.assert_array_equal(episode.observation['x'][1:, 1], steps)
    assert episode.observation['x'].shape == (length + 1, 2)


def test_later_episodes_leave_earlier_ones_alone():
  episodes = []
  adder = adders.EpisodeAdder([episodes.append])
  for value in (1.0, 2.0):
    adder.add_first(_first())
    adder.add(np.float32([value]), _step(value, last=True))
  assert [e.observation['x'][1, 0] for e in episodes] == [1.0, 2.0]


def test_each_frame_is_copied_once():
  # Copied again at the end of the episode, it would stand in memory twice.
  frame = np.zeros((64, 64, 3), np.uint8)
  adder = adders.EpisodeAdder([lambda _: None])

  def run(length):
    adder.add_first(dm_env.restart(frame))
    for step in range(length):
      make = dm_env.truncation if step == length - 1 else dm_env.transition
      adder.add(np.float32([0]), make(0.0, frame))

  run(100)
  tracemalloc.start()
  run(100)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  # Room is made for 128 steps; twice 100 frames would be more.
  assert peak < 150 * frame.nbytes


def test_what_else_a_step_was_becomes_a_column():
  episodes = []
  told = iter([0, 1])
  extras = [
    lambda: {'success': np.uint8(next(told))},
    lambda: {'time': 0.5, 'human': {'acted': True}},
  ]
  adder = adders.EpisodeAdder([episodes.append], extras)
  adder.add_first(_first())
  adder.add(np.float32([0]), _step(1.0))
  adder.add(np.float32([0]), _step(2.0, last=True))
  extras = episodes[0].extras
  assert extras['success'].tolist() == [0, 1]
  assert extras['success'].dtype == np.uint8
  assert extras['time'].tolist() == [0.5, 0.5]
  assert extras['human']['acted'].tolist() == [True, True]


@pytest.mark.parametrize(
  ('observation', 'message'),
  [
    (
      {'x': np.zeros(1, np.float32)},
      r'x: float32 \(1,\), expected float32 \(2',
    ),
    ({'x': np.zeros(2)}, r'x: float64 \(2,\), expected float32 \(2'),
    ({'y': np.zeros(2, np.float32)}, r'observation/x: missing'),
  ],
)
def test_refuses_steps_that_differ_in_kind(observation, message):
  adder = adders.EpisodeAdder([])
  adder.add_first(_first())
  with pytest.raises(ValueError, match=rf'step 1 (.*\n)+.*{message}'):
    adder.add(np.float32([0]), dm_env.transition(0.0, observation))


def test_mappings_become_dicts():
  episodes = []
  adder = adders.EpisodeAdder([episodes.append])
  observation = collections.OrderedDict(x=np.zeros(1))
  adder.add_first(dm_env.restart(observation))
  adder.add(np.float32([0]), dm_env.truncation(0.0, observation))
  assert type(episodes[0].observation) is dict


def test_refuses_a_step_outside_of_an_episode():
  adder = adders.EpisodeAdder([])
  with pytest.raises(ValueError, match='before add_first'):
    adder.add(np.float32([0]), _step(1.0))
  adder.add_first(_first())
  adder.add(np.float32([0]), _step(1.0, last=True))
  with pytest.raises(ValueError, match='before add_first'):
    adder.add(np.float32([0]), _step(1.0))


def test_refuses_timesteps_in_the_wrong_place():
  adder = adders.EpisodeAdder([])
  with pytest.raises(ValueError, match=r'add_first\(\) got a .*MID'):
    adder.add_first(_step(1.0))
  adder.add_first(_first())
  with pytest.raises(ValueError, match='goes to add_first'):
    adder.add(np.float32([0]), _first())


def test_refuses_a_missing_reward():
  adder = adders.EpisodeAdder([])
  adder.add_first(_first())
  with pytest.raises(ValueError, match='step 0 has reward None'):
    adder.add(np.float32([0]), _step(1.0)._replace(reward=None))


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_stores_no_episode_that_holds_nan(value):
  episodes = []
  adder = adders.EpisodeAdder([episodes.append])
  adder.add_first(_first())
  adder.add(np.float32([0]), _step(1.0))
  bad = _step(2.0, last=True)._replace(reward=value)
  with pytest.raises(ValueError, match=f'reward is {value} at step 1'):
    adder.add(np.float32([0]), bad)
  assert not episodes


def test_check_accepts_what_fits_its_spec():
  for spec in (fakes.make_state_spec(), fakes.make_image_spec()):
    adders.check(fakes.make_episode(spec, length=3), spec)


def test_check_names_every_array_that_does_not_fit():
  spec = fakes.make_state_spec()
  episode = fakes.make_episode(spec, length=3)
  wrong = episode._replace(
    observation={'tcp_pos': episode.observation['tcp_pos'][1:]},
    action=episode.action.astype(np.float64),
    extras={'time': np.zeros(7)},
  )
  with pytest.raises(ValueError, match='does not fit') as error:
    adders.check(wrong, spec)
  lines = str(error.value).splitlines()[1:]
  assert [line.split(':')[0].strip() for line in lines] == [
    'action',
    'observation/gripper',
    'observation/tcp_pos',
    'extras/time',
  ]
  assert 'float64' in lines[0] and 'float32' in lines[0]


def test_check_refuses_an_episode_without_steps():
  spec = fakes.make_state_spec()
  episode = fakes.make_episode(spec, length=1)
  empty = episode._replace(
    observation={k: v[:1] for k, v in episode.observation.items()},
    action=episode.action[:0],
    reward=episode.reward[:0],
    discount=episode.discount[:0],
  )
  with pytest.raises(ValueError, match='at least one'):
    adders.check(empty, spec)
