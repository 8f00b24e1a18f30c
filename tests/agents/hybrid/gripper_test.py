"""Tests of gripper."""

import dataclasses

import numpy as np
import pytest

from serl import specs
from serl.agents import hybrid
from serl.agents.hybrid import gripper
from serl.environments.wrappers import gripper_penalty
from serl.testing import fakes

CLOSE, STAY, OPEN = gripper.CLOSE, gripper.STAY, gripper.OPEN
# The last entries of actions, and what they ask of the real arm.
ASKED = {
  -1.0: CLOSE,
  -0.95: CLOSE,
  -0.5: CLOSE,
  -0.49: STAY,
  0.0: STAY,
  0.49: STAY,
  0.5: OPEN,
  1.0: OPEN,
}


def _actions(entries):
  return np.stack([np.ones(len(entries)), entries], -1).astype(np.float32)


def test_the_choice_is_read_off_the_last_entry():
  actions = _actions(list(ASKED))
  np.testing.assert_array_equal(
    gripper.choices(actions, -0.5), list(ASKED.values())
  )
  mirrored = actions * (1, -1)
  np.testing.assert_array_equal(
    gripper.choices(mirrored, 0.5), list(ASKED.values())
  )


@pytest.mark.parametrize('closing', [-0.5, 0.5, -1.0])
def test_an_entry_is_read_as_the_choice_it_was_made_of(closing):
  chosen = np.array([CLOSE, STAY, OPEN])
  entries = np.asarray(gripper.entries(chosen, closing))
  assert entries.dtype == np.float32
  np.testing.assert_array_equal(
    entries, np.sign(closing) * np.array([1, 0, -1])
  )
  np.testing.assert_array_equal(
    gripper.choices(_actions(entries), closing), chosen
  )


@pytest.mark.parametrize(
  'readings, open_reading, held, closed_reading',
  [
    (None, 0.4, 3.0, 10.0),  # the bounds of the spec
    ((0.08, 0.0), 0.079, 0.05, 0.0),  # Franka's hand: larger is wider
  ],
)
def test_only_what_changes_the_gripper_switches(
  spec, readings, open_reading, held, closed_reading
):
  config = hybrid.HybridConfig(gripper_range=readings)
  is_closed = gripper.make_is_closed(spec.observations, config)
  observation = {
    'tcp_pos': np.zeros((9, 2), np.float32),
    'gripper_pose': np.repeat(
      np.float32([open_reading, held, closed_reading]), 3
    )[:, None],
  }
  chosen = np.array([CLOSE, STAY, OPEN] * 3)
  np.testing.assert_array_equal(
    gripper.switches(chosen, is_closed(observation)),
    [True, False, False] + 2 * [False, False, True],
  )


def test_the_penalty_is_due_where_the_wrapper_takes_it(spec):
  """The wrapper of environments and this agent agree on what a switch is."""
  environment = gripper_penalty.GripperPenalty(
    fakes.FakeEnvironment(spec, episode_length=60),
    closing=-0.5,
    is_closed=lambda observation: observation['gripper_pose'][0] >= 5,
  )
  is_closed = gripper.make_is_closed(
    spec.observations, hybrid.HybridConfig(closed_from=0.5)
  )
  random = np.random.default_rng(0)
  timestep, expected, found = environment.reset(), [], []
  for _ in range(60):
    action = random.uniform(-1, 1, 3).astype(np.float32)
    chosen = gripper.choices(action, -0.5)
    found.append(
      bool(gripper.switches(chosen, is_closed(timestep.observation)))
    )
    before = environment.episode_metrics()['gripper_switches']
    timestep = environment.step(action)
    expected.append(environment.episode_metrics()['gripper_switches'] > before)
  assert found == expected
  assert 5 < sum(found) < 55


@pytest.mark.parametrize(
  'changes, leaf, match',
  [
    ({'gripper_observation': 'finger'}, None, "is 'finger', expected the name"),
    ({'gripper_observation': 'tcp_pos'}, None, r'array \[1\] among'),
    ({}, specs.Array((1,), np.float32), 'expected finite bounds'),
    (
      {},
      specs.BoundedArray((1,), np.float32, -np.inf, np.inf),
      'expected finite bounds',
    ),
  ],
)
def test_a_gripper_that_is_not_observed_is_refused(spec, changes, leaf, match):
  config = dataclasses.replace(hybrid.HybridConfig(), **changes)
  observations = dict(spec.observations)
  if leaf is not None:
    observations['gripper_pose'] = leaf
  with pytest.raises(ValueError, match=match):
    gripper.make_is_closed(observations, config)
