"""Actors: what stands in the control loop."""

from collections.abc import Callable

import dm_env
import jax
import numpy as np
import tree

from serl import core
from serl import types
from serl.agents import builder
from serl.agents import variables


class NonFiniteActionError(FloatingPointError):
  """A policy gave an action with NaN or infinity in it."""


class _RecordingActor:
  """What actors share: an adder sees what they see."""

  def __init__(self, adder: core.Adder | None):
    self._adder = adder

  def observe_first(self, timestep: dm_env.TimeStep) -> None:
    """Sees the first timestep of an episode."""
    if self._adder is not None:
      self._adder.add_first(timestep)

  def observe(
    self, action: types.NestedArray, next_timestep: dm_env.TimeStep
  ) -> None:
    """Sees the executed action and the timestep that it led to."""
    if self._adder is not None:
      self._adder.add(action, next_timestep)


class FeedForwardActor(_RecordingActor):
  """Acts with a policy that has no memory, one observation at a time."""

  def __init__(
    self,
    policy: builder.Policy,
    key: types.PRNGKey,
    variable_client: variables.VariableClient,
    adder: core.Adder | None = None,
    action_spec: types.NestedSpec | None = None,
  ):
    """Initialises the actor.

    Args:
      policy: of `Builder.make_policy`.
      key: a random key, the actor's own.
      variable_client: where the policy's parameters come from.
      adder: stores the episodes; None stores nothing.
      action_spec: of the environment, whose dtype the actions get; None leaves
        them as the policy gives them, in float32.
    """
    super().__init__(adder)
    self._variable_client = variable_client
    self._action_spec = action_spec
    self._key = key

    # One call a step: a key split outside would cost as much as the policy.
    @jax.jit
    def act(params, key, observation):
      key, action_key = jax.random.split(key)
      return policy(params, action_key, observation), key

    self._act = act
    self._compiled = False

  def observe_first(self, timestep: dm_env.TimeStep) -> None:
    """Sees the first timestep of an episode.

    The first one of all compiles the policy: here the robot stands still, at
    the first action it would be in motion.
    """
    super().observe_first(timestep)
    params = self._variable_client.params
    if not self._compiled and params is not None:
      self._act(params, self._key, timestep.observation)
      self._compiled = True

  def select_action(self, observation: types.NestedArray) -> types.NestedArray:
    """Returns the policy's action.

    Raises:
      RuntimeError: if no parameters have arrived yet.
      NonFiniteActionError: the action holds NaN or infinity.
    """
    params = self._variable_client.params
    if params is None:
      raise RuntimeError(
        'The actor has no policy parameters yet: call wait() of its '
        'VariableClient before the first episode.'
      )
    action, self._key = self._act(params, self._key, observation)
    # A copy: JAX's own view is read-only.
    action = jax.tree.map(np.array, action)
    if not all(np.isfinite(leaf).all() for leaf in tree.flatten(action)):
      raise NonFiniteActionError(self._describe(action, observation))
    if self._action_spec is None:
      return action
    return tree.map_structure(
      lambda spec, leaf: leaf.astype(spec.dtype, copy=False),
      self._action_spec,
      action,
    )

  def _describe(
    self, action: types.NestedArray, observation: types.NestedArray
  ) -> str:
    """Returns what is known of an action that is not finite."""
    step = self._variable_client.metrics().get('params_step')
    where = 'unknown origin' if step is None else f'learner step {step}'
    return (
      f'The policy with the parameters of {where} gave the action {action!r}, '
      'expected finite numbers. Not finite are, of the parameters: '
      f'{_not_finite(self._variable_client.params)}; of the observation: '
      f'{_not_finite(observation)}. Go on from the last checkpoint with a '
      'lower learning rate, or evaluate an earlier one by --step.'
    )

  def update(self) -> None:
    """Takes newer policy parameters if they have arrived; returns at once."""
    self._variable_client.update()

  def metrics(self) -> dict[str, float]:
    """Returns how old the parameters are; see `VariableClient.metrics`."""
    return self._variable_client.metrics()


class RandomActor(_RecordingActor):
  """Acts uniformly within the bounds of the action spec."""

  def __init__(
    self,
    action_spec: types.NestedSpec,
    seed: int,
    adder: core.Adder | None = None,
  ):
    """Initialises the actor.

    Args:
      action_spec: a tree of BoundedArray.
      seed: of the random numbers.
      adder: stores the episodes; None stores nothing.
    """
    super().__init__(adder)
    self._action_spec = action_spec
    self._random = np.random.default_rng(seed)

  def select_action(self, observation: types.NestedArray) -> types.NestedArray:
    """Returns a random action."""
    del observation

    def draw(spec):
      sample = self._random.uniform(spec.minimum, spec.maximum, spec.shape)
      return sample.astype(spec.dtype)

    return tree.map_structure(draw, self._action_spec)

  def update(self) -> None:
    """Does nothing: there are no parameters."""


class SwitchingActor:
  """One of several actors, chosen anew as each episode begins."""

  def __init__(self, choose: Callable[[], core.Actor]):
    """Initialises the actor; `choose` returns that of the next episode."""
    self._choose = choose
    self._actor = choose()

  def observe_first(self, timestep: dm_env.TimeStep) -> None:
    """Chooses the actor, which sees the first timestep of its episode."""
    self._actor = self._choose()
    self._actor.observe_first(timestep)

  def select_action(self, observation: types.NestedArray) -> types.NestedArray:
    """Returns the chosen actor's action."""
    return self._actor.select_action(observation)

  def observe(
    self, action: types.NestedArray, next_timestep: dm_env.TimeStep
  ) -> None:
    """Lets the chosen actor see the step."""
    self._actor.observe(action, next_timestep)

  def update(self) -> None:
    """Lets the chosen actor take newer parameters."""
    self._actor.update()

  def metrics(self) -> dict[str, float]:
    """Returns the chosen actor's metrics, none where it has none."""
    has_metrics = isinstance(self._actor, core.HasMetrics)
    return dict(self._actor.metrics()) if has_metrics else {}


def _not_finite(nested: types.NestedArray) -> str:
  """Returns the paths of the leaves with NaN or infinity."""
  paths = [
    jax.tree_util.keystr(path)
    for path, leaf in jax.tree_util.tree_leaves_with_path(nested)
    if not np.isfinite(np.asarray(leaf, np.float64)).all()
  ]
  return ', '.join(paths) or 'none'
