"""Tests for records."""

import numpy as np
import pytest

from serl import specs
from serl import types
from serl.demos import files
from serl.demos import records


def _spec():
  """Numbers of which two sort before and after the image."""
  return records.make_spec(
    {
      'tcp_vel': specs.BoundedArray((3,), np.float32, -1.0, 1.0),
      'front': specs.BoundedArray((4, 4, 3), np.uint8, 0, 255),
      'gripper_pos': specs.BoundedArray((1,), np.float32, 0.0, 1.0),
    },
    specs.BoundedArray((2,), np.float32, [-1.0, -0.5], [1.0, 0.5]),
  )


def _record(length=3, **changes):
  rows = np.arange(length + 1, dtype=np.float32)[:, None]
  episode = types.Episode(
    observation={
      'front': np.zeros((length + 1, 4, 4, 3), np.uint8),
      'state': np.concatenate([rows / 10, rows / 5, rows / 5, rows / 5], 1),
    },
    action=np.zeros((length, 2), np.float32),
    reward=np.zeros(length, np.float32),
    discount=np.ones(length, np.float32),
    extras={'success': np.ones(length, np.uint8)},
  )
  return records.Record('demos.pkl, 3', episode._replace(**changes), {'a': 1})


def _observed(**changes):
  return {**_record().episode.observation, **changes}


def test_a_state_is_cut_in_the_sorted_order_of_the_names():
  fitted = records.fit(_record(), _spec())
  observation = fitted.episode.observation
  np.testing.assert_allclose(
    observation['gripper_pos'], [[0.0], [0.1], [0.2], [0.3]]
  )
  np.testing.assert_allclose(observation['tcp_vel'][2], [0.4, 0.4, 0.4])
  assert set(observation) == {'front', 'gripper_pos', 'tcp_vel'}
  assert fitted.metadata == {'a': 1}
  np.testing.assert_array_equal(fitted.episode.extras['success'], [1, 1, 1])


def test_names_within_state_and_images_are_taken_out_of_them():
  flat = records.fit(_record(), _spec()).episode.observation
  state = {name: flat[name] for name in ('tcp_vel', 'gripper_pos')}
  nested = {'state': state, 'images': {'front': flat['front']}}
  fitted = records.fit(_record(observation=nested), _spec())
  assert set(fitted.episode.observation) == set(flat)
  del nested['state']['tcp_vel']
  with pytest.raises(files.FileError, match='observation/tcp_vel: missing'):
    records.fit(_record(observation=nested), _spec())


def test_a_stack_of_states_is_cut_in_each_frame():
  spec = records.make_spec(
    {
      'a': specs.Array((2, 1), np.float32),
      'b': specs.Array((2, 2), np.float32),
    },
    _spec().actions,
  )
  state = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
  record = _record(observation={'state': state})
  fitted = records.fit(record, spec).episode.observation
  np.testing.assert_array_equal(fitted['a'], state[..., :1])
  np.testing.assert_array_equal(fitted['b'], state[..., 1:])


def test_numbers_get_the_precision_of_the_spec():
  record = _record(action=np.full((3, 2), 0.3))  # float64
  fitted = records.fit(record, _spec()).episode
  assert fitted.action.dtype == np.float32


def test_observations_saturate_and_are_counted():
  state = np.zeros((4, 4), np.float32)
  state[1] = [0.5, -3.0, 0.0, 2.0]
  fitted = records.fit(_record(observation=_observed(state=state)), _spec())
  np.testing.assert_array_equal(
    fitted.episode.observation['tcp_vel'][1], [-1, 0, 1]
  )
  assert fitted.metadata['saturated'] == {'observation/tcp_vel': 2}


def test_a_spec_is_inferred_that_fits():
  record = _record()
  spec = records.infer_spec(record)
  assert spec.observations['front'].dtype == np.uint8
  assert spec.observations['state'].shape == (4,)
  assert (spec.actions.minimum, spec.actions.maximum) == (-1, 1)
  fitted = records.fit(record, spec)
  np.testing.assert_array_equal(
    fitted.episode.observation['state'], record.episode.observation['state']
  )


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {'action': np.array([[0, 0], [0, 0], [0, 0.6]], np.float32)},
      r'action: \[0\.  0\.6\] at step 2, expected within',
    ),
    (
      {'action': np.array([[0, 0], [np.nan, 0], [0, 0]], np.float32)},
      r'action: \[nan  0\.\] at step 1, expected finite',
    ),
    (
      {'action': np.zeros((3, 7), np.float32)},
      r'action: float32 \[7\], expected float32 \[2\]',
    ),
    (
      {'observation': _observed(front=np.zeros((4, 8, 8, 3), np.uint8))},
      r'front: uint8 \[8, 8, 3\], expected uint8 \[4, 4, 3\]',
    ),
    (
      {'observation': _observed(front=np.zeros((4, 4, 4, 3), np.float32))},
      r'front: float32 \[4, 4, 3\], expected uint8 .*bytes of floats',
    ),
    (
      {'observation': {'state': _record().episode.observation['state']}},
      r'front: missing, expected uint8 \[4, 4, 3\]',
    ),
    (
      {'observation': _observed(wrist=np.zeros((4, 4, 4, 3), np.uint8))},
      'wrist: not expected',
    ),
    (
      {'observation': _observed(state=np.zeros((4, 7), np.float32))},
      r"state has 7 numbers, but the spec has 4: \{'gripper_pos': 1",
    ),
    (
      {'reward': np.array([0, np.inf, 0], np.float32)},
      'reward: inf at step 1, expected finite',
    ),
  ],
)
def test_refuses_what_does_not_fit(changes, message):
  with pytest.raises(files.FileError, match=message) as error:
    records.fit(_record(**changes), _spec())
  assert 'demos.pkl, 3' in str(error.value)


def test_no_spec_is_inferred_of_images_of_floats():
  observation = _observed(front=np.zeros((4, 8, 8, 3), np.float32))
  with pytest.raises(
    files.FileError, match=r'demos.pkl, 3: .* front is float32 \[8, 8, 3\]'
  ):
    records.infer_spec(_record(observation=observation))


def test_no_spec_is_inferred_of_images_with_their_channels_first():
  observation = _observed(front=np.zeros((4, 3, 8, 8), np.uint8))
  with pytest.raises(
    files.FileError, match=r'front: uint8 \[3, 8, 8\].*transp'
  ):
    records.infer_spec(_record(observation=observation))


def test_a_spec_is_inferred_only_of_vectors_of_actions():
  with pytest.raises(files.FileError, match=r'actions of shape \(3,\)'):
    records.infer_spec(_record(action=np.zeros(3, np.float32)))


def test_actions_beyond_their_bounds_are_clipped_where_that_is_asked_for():
  # Of which the second is bounded by 0.5.
  action = np.array([[1.5, 0], [-1.000001, 0.5], [0, -0.9]])
  fitted = records.fit(_record(action=action), _spec(), clip=True)
  np.testing.assert_array_equal(
    fitted.episode.action, np.float32([[1, 0], [-1, 0.5], [0, -0.5]])
  )
  # By how much of the range, not by how much.
  assert fitted.metadata['clipped'] == {'action': {'steps': 2, 'most': -0.9}}
  with pytest.raises(files.FileError, match='expected within'):
    records.fit(_record(action=action), _spec())


def test_rounding_is_clipped_in_silence():
  action = np.full((3, 2), [1.000001, -0.5000004])
  fitted = records.fit(_record(action=action), _spec(), clip=True)
  assert 'clipped' not in fitted.metadata
  assert fitted.episode.action.max() == 1


@pytest.mark.parametrize('most', [2.5, -3.0, 1e30])
def test_absurd_actions_are_refused_though_others_are_clipped(most):
  action = np.zeros((3, 2), np.float32)
  action[1, 0] = most
  with pytest.raises(files.FileError, match='at step 1, expected within'):
    records.fit(_record(action=action), _spec(), clip=True)


def test_a_file_of_two_arms_is_named_by_its_sizes():
  for changes in (
    {'action': np.zeros((3, 4), np.float32)},
    {'observation': _observed(state=np.zeros((4, 8), np.float32))},
  ):
    with pytest.raises(files.FileError, match='a file of two arms'):
      records.fit(_record(**changes), _spec())
