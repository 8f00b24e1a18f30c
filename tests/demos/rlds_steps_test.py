"""Tests for rlds_steps."""

import numpy as np
import pytest

from serl.demos import files
from serl.demos import rlds_steps


def _flags(first='', last='', terminal='', empty='', count=6):
  """Returns flags that are set at the steps whose digits are given."""
  column = lambda digits: np.isin(np.arange(count), [int(d) for d in digits])
  return rlds_steps.Flags(*map(column, (first, last, terminal, empty)))


@pytest.mark.parametrize(
  ('flags', 'expected'),
  [
    (_flags(), [(0, 6)]),
    (_flags(first='0', last='5'), [(0, 6)]),
    (_flags(last='25', terminal='25'), [(0, 3), (3, 6)]),
    (_flags(terminal='2'), [(0, 3), (3, 6)]),
    (_flags(first='03'), [(0, 3), (3, 6)]),
    (_flags(first='03', last='25'), [(0, 3), (3, 6)]),
    # An older logger of SERL's sets is_last in all steps but the first.
    (_flags(first='0', last='12345', terminal='5', empty='5'), [(0, 6)]),
    (_flags(first='0', last='12345'), [(0, 6)]),
    # A terminal action, and the observation that it led to.
    (_flags(last='5', terminal='4', empty='5'), [(0, 6)]),
    (_flags(last='5', terminal='45', empty='5'), [(0, 6)]),
    (_flags(last='25', terminal='14', empty='25'), [(0, 3), (3, 6)]),
    (_flags(first='03', terminal='1', empty='2'), [(0, 3), (3, 6)]),
    # What is done after a terminal step is no part of its episode.
    (_flags(last='5', terminal='45'), [(0, 5), (5, 6)]),
    # Episodes of one step, one after the other.
    (_flags(first='0123', last='0125'), [(0, 1), (1, 2), (2, 3), (3, 6)]),
    (_flags(count=0), []),
  ],
)
def test_where_episodes_end(flags, expected):
  assert rlds_steps.spans(flags, None) == expected


def test_acted_steps_have_no_observation_to_follow():
  flags = _flags(last='5', terminal='4', empty='5')
  assert rlds_steps.spans(flags, 'observed') == [(0, 6)]
  assert rlds_steps.spans(flags, 'acted') == [(0, 5), (5, 6)]


@pytest.mark.parametrize(
  ('rows', 'expected'),
  [
    ([_flags(last='5', empty='5')], 'observed'),
    ([_flags(last='5')], 'acted'),
    # In some the robot stands still at the end.
    ([_flags(last='5', empty='5'), _flags(last='5')], 'acted'),
    ([_flags(last='25', empty='5')], 'acted'),
    ([_flags(first='0', last='12345', terminal='5', empty='5')], 'observed'),
    ([_flags(last='5', terminal='4', empty='5')], 'observed'),
    # Nothing is flagged at all.
    ([_flags()], 'acted'),
    ([_flags(empty='5')], 'observed'),
    # The last recording was cut off.
    ([_flags(last='5', empty='5'), _flags()], 'observed'),
    ([_flags(), _flags(last='5', empty='5')], 'observed'),
    ([], 'observed'),
  ],
)
def test_the_convention_is_what_is_there(rows, expected):
  assert rlds_steps.find_last_step(rows) == expected


def test_the_first_sign_is_enough():
  def rows():
    yield _flags(last='5')
    raise AssertionError('read on')

  assert rlds_steps.find_last_step(rows()) == 'acted'


def _steps(actions, rewards, **columns):
  return [
    {
      'observation': {'x': np.float64([t])},
      'action': np.asarray(action),
      'reward': rewards[t],
      **{name: column[t] for name, column in columns.items()},
    }
    for t, action in enumerate(actions)
  ]


@pytest.mark.parametrize(
  ('action', 'reward', 'empty'),
  [
    ([0.0, 0.0], 0.0, True),
    ([0.0, 0.1], 0.0, False),
    ([0.0, 0.0], 1.0, False),
    ([0.0, 0.0], -1, False),
    ([np.nan, np.nan], np.nan, True),
    ([np.inf, 0], 0.0, True),
    ([1, 0], 0, False),
    ([True, False], 0, False),
    (b'stop', 0.0, True),
  ],
)
def test_a_step_is_empty_without_numbers(action, reward, empty):
  flags = rlds_steps.read_flags('a', _steps([action], [reward]))
  assert flags.empty.tolist() == [empty]


def test_flags_of_any_kind_are_read():
  for true, false in ((True, False), (1, 0), (np.bool_([1]), np.bool_([0]))):
    steps = _steps([[1.0]] * 2, [0.0] * 2, is_last=[false, true])
    flags = rlds_steps.read_flags('a', steps)
    assert flags.last.tolist() == [False, True]
    assert flags.first.tolist() == flags.terminal.tolist() == [False, False]


@pytest.mark.parametrize('value', [b'no', np.ones(2, bool), np.ones((1, 2))])
def test_a_flag_is_one_number(value):
  steps = _steps([[1.0]] * 2, [0.0] * 2, is_last=[False, value])
  with pytest.raises(files.FileError, match=r'a, is_last: .* at step 1, expec'):
    rlds_steps.read_flags('a', steps)


def test_an_observed_last_step_is_an_observation_alone():
  steps = _steps([[0.1], [0.2], [0.0]], [0, 1, 0], discount=[1.0, 0.5, 0.0])
  episode = rlds_steps.make_episode('a', steps, 'observed')
  np.testing.assert_array_equal(episode.observation['x'], [[0], [1], [2]])
  np.testing.assert_array_equal(episode.action, [[0.1], [0.2]])
  np.testing.assert_array_equal(episode.reward, [0, 1])
  np.testing.assert_array_equal(episode.discount, [1, 0.5])


def test_an_acted_last_step_keeps_its_reward():
  steps = _steps(
    [[0.1], [0.2], [0.3]], [0, 0, 1.0], is_terminal=[False, False, True]
  )
  episode = rlds_steps.make_episode('a', steps, 'acted')
  np.testing.assert_array_equal(episode.observation['x'], [[0], [1], [2], [2]])
  np.testing.assert_array_equal(episode.action, [[0.1], [0.2], [0.3]])
  np.testing.assert_array_equal(episode.reward, np.float32([0, 0, 1]))
  np.testing.assert_array_equal(episode.discount, [1, 1, 0])
  assert episode.reward.dtype == episode.discount.dtype == np.float32


@pytest.mark.parametrize('terminal', ['action', 'observation'])
def test_the_end_is_terminal_wherever_it_is_flagged(terminal):
  flags = [False, terminal == 'action', terminal == 'observation']
  steps = _steps([[0.1], [0.2], [0.0]], [0, 1, 0], is_terminal=flags)
  episode = rlds_steps.make_episode('a', steps, 'observed')
  assert episode.discount.tolist() == [1, 0]


def test_fields_that_change_are_named():
  steps = _steps([[0.1]] * 3, [0.0] * 3)
  steps[1]['observation']['x'] = np.zeros(2)
  with pytest.raises(
    files.FileError, match=r'a, observation/x: float64 \[2\] at step 1, .*drop'
  ):
    rlds_steps.make_episode('a', steps, 'acted')
  steps = _steps([[0.1]] * 3, [0.0, b'x', 0.0])
  with pytest.raises(
    files.FileError, match='a, reward: text at step 1, expect'
  ):
    rlds_steps.make_episode('a', steps, 'acted')


def test_a_step_of_others_becomes_one_of_ours():
  step = {
    'observation': {'image': np.zeros((1, 4, 4, 3), np.uint8), 'text': b'x'},
    'action': {'arm': np.float32([1, 2]), 'close': np.bool_(True)},
    'reward': 1.0,
    'extras': {'a': 1, 'b': b'x'},
  }
  chosen = ['observation/image', 'action/close', 'action/arm']
  ours = rlds_steps.select(step, chosen, ['extras/a'], chosen[:1])
  assert list(ours['observation']) == ['image']
  assert ours['observation']['image'].shape == (4, 4, 3)
  np.testing.assert_array_equal(ours['action'], [1, 1, 2])
  assert ours['extras'] == {'a': 1}
  bare = {'observation': np.float32([1]), 'action': np.float32([2])}
  ours = rlds_steps.select(bare, ['observation', 'action'])
  np.testing.assert_array_equal(ours['observation'], [1])
  assert ours['extras'] == {}
