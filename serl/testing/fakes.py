"""Environments, actors and episodes made from nothing but their specs."""

import dm_env
import numpy as np
import tree

from serl import specs
from serl import types


def make_state_spec() -> specs.EnvironmentSpec:
  """Returns the spec of an environment with state observations."""
  return _with_observations(
    {
      'tcp_pos': specs.BoundedArray((3,), np.float32, -1.0, 1.0, 'tcp_pos'),
      'gripper': specs.Array((1,), np.float32, 'gripper'),
    }
  )


def make_image_spec() -> specs.EnvironmentSpec:
  """Returns the spec of an environment with a camera beside its state."""
  return _with_observations(
    {
      'state': {'tcp_pos': specs.Array((3,), np.float32, 'tcp_pos')},
      'image': specs.BoundedArray((8, 8, 3), np.uint8, 0, 255, 'image'),
    }
  )


def make_batch(
  spec: specs.EnvironmentSpec,
  lead: tuple[int, ...],
  seed: int = 0,
  discount: float = 1.0,
) -> types.Batch:
  """Returns a batch of random pixels and numbers in [-1, 1].

  Args:
    spec: of the environment.
    lead: the leading axes, such as (updates_per_round, batch_size).
    seed: of the random numbers.
    discount: of all rows.
  """
  random = np.random.default_rng(seed)

  def draw(leaf):
    shape = (*lead, *leaf.shape)
    if leaf.dtype == np.uint8:
      return random.integers(0, 256, shape, np.uint8)
    return random.uniform(-1, 1, shape).astype(np.float32)

  return types.Batch.uniform(
    types.Transition(
      observation=tree.map_structure(draw, spec.observations),
      action=draw(spec.actions),
      reward=draw(spec.rewards),
      discount=np.full(lead, discount, np.float32),
      next_observation=tree.map_structure(draw, spec.observations),
    )
  )


def make_arm_spec() -> specs.EnvironmentSpec:
  """Returns the spec of an arm: a pose, a velocity and actions along both."""
  spec = _with_observations(
    {
      'tcp_pose': specs.BoundedArray((7,), np.float32, -1.0, 1.0),
      'tcp_vel': specs.BoundedArray((6,), np.float32, -1.0, 1.0),
    }
  )
  return spec._replace(
    actions=specs.BoundedArray((7,), np.float32, -1.0, 1.0, 'action')
  )


def make_episode(
  spec: specs.EnvironmentSpec, length: int = 10, seed: int = 0
) -> types.Episode:
  """Returns an episode of random numbers that fits `spec`.

  Args:
    spec: of the environment.
    length: steps, T.
    seed: equal seeds give equal episodes.
  """
  rng = np.random.default_rng(seed)
  steps = lambda spec, count: tree.map_structure(
    lambda s: np.stack([_draw(s, rng) for _ in range(count)]), spec
  )
  return types.Episode(
    observation=steps(spec.observations, length + 1),
    action=steps(spec.actions, length),
    reward=rng.uniform(size=length).astype(np.float32),
    discount=np.ones(length, np.float32),
  )


class FakeEnvironment(dm_env.Environment):
  """Random observations and rewards; episodes of a fixed length."""

  def __init__(
    self,
    spec: specs.EnvironmentSpec,
    episode_length: int = 10,
    seed: int = 0,
    terminate: bool = False,
    success: float | None = None,
  ):
    """Initialises the environment.

    Args:
      spec: what it gives and takes; an action outside of it is refused.
      episode_length: steps from reset to LAST.
      seed: of observations and rewards.
      terminate: whether LAST has the discount 0 of a termination, instead of
        the 1 of a time limit.
      success: the probability that an episode ends in success; None if this
        environment does not tell.
    """
    self._spec = spec
    self._episode_length = episode_length
    self._rng = np.random.default_rng(seed)
    self._terminate = terminate
    self._success = success
    self._step = -1  # before the first reset
    self._succeeded = False

  def reset(self) -> dm_env.TimeStep:
    """Begins an episode."""
    self._step = 0
    self._succeeded = False
    return dm_env.restart(self._observe())

  def step(self, action: types.NestedArray) -> dm_env.TimeStep:
    """Executes `action`; begins an episode where the last one is over."""
    if self._step in (-1, self._episode_length):
      return self.reset()
    tree.map_structure(
      lambda spec, value: spec.validate(value), self._spec.actions, action
    )
    self._step += 1
    reward = self._spec.rewards.dtype.type(self._rng.uniform())
    if self._step < self._episode_length:
      return dm_env.transition(reward, self._observe())
    if self._success is not None:
      self._succeeded = self._rng.uniform() < self._success
    if self._terminate:
      return dm_env.termination(reward, self._observe())
    return dm_env.truncation(reward, self._observe())

  def episode_metrics(self) -> dict[str, float]:
    """Returns whether the episode has succeeded, where this is told."""
    if self._success is None:
      return {}
    return {'success': float(self._succeeded)}

  def observation_spec(self) -> types.NestedSpec:
    """Returns the spec of the observations."""
    return self._spec.observations

  def action_spec(self) -> types.NestedSpec:
    """Returns the spec of the actions."""
    return self._spec.actions

  def reward_spec(self) -> specs.Array:
    """Returns the spec of the reward."""
    return self._spec.rewards

  def discount_spec(self) -> specs.BoundedArray:
    """Returns the spec of the discount."""
    return self._spec.discounts

  def _observe(self) -> types.NestedArray:
    return tree.map_structure(
      lambda spec: _draw(spec, self._rng), self._spec.observations
    )


class FakeActor:
  """A `core.Actor` with random actions that counts its calls."""

  def __init__(self, spec: specs.EnvironmentSpec, seed: int = 0):
    """Initialises the actor.

    Args:
      spec: of the environment it acts in.
      seed: of its actions.
    """
    self._spec = spec
    self._rng = np.random.default_rng(seed)
    self.calls: list[str] = []  # names of the methods, in order

  def select_action(self, observation: types.NestedArray) -> types.NestedArray:
    """Returns a random action."""
    del observation
    self.calls.append('select_action')
    return tree.map_structure(
      lambda spec: _draw(spec, self._rng), self._spec.actions
    )

  def observe_first(self, timestep: dm_env.TimeStep) -> None:
    """Sees the first timestep of an episode."""
    del timestep
    self.calls.append('observe_first')

  def observe(
    self, action: types.NestedArray, next_timestep: dm_env.TimeStep
  ) -> None:
    """Sees an action and what it led to."""
    del action, next_timestep
    self.calls.append('observe')

  def update(self) -> None:
    """Has no parameters to take."""
    self.calls.append('update')


def _with_observations(
  observations: types.NestedSpec,
) -> specs.EnvironmentSpec:
  return specs.EnvironmentSpec(
    observations=observations,
    actions=specs.BoundedArray((2,), np.float32, -1.0, 1.0, 'action'),
    rewards=specs.Array((), float, 'reward'),
    discounts=specs.BoundedArray((), float, 0.0, 1.0, 'discount'),
  )


def _draw(spec: specs.Array, rng: np.random.Generator) -> np.ndarray:
  """Returns a random array that `spec` accepts."""
  if not isinstance(spec, specs.BoundedArray):
    return rng.normal(size=spec.shape).astype(spec.dtype)
  if np.issubdtype(spec.dtype, np.integer):
    values = rng.integers(spec.minimum, spec.maximum, spec.shape, endpoint=True)
  else:
    values = rng.uniform(spec.minimum, spec.maximum, spec.shape)
  return np.asarray(values, spec.dtype)
