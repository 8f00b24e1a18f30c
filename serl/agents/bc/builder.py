"""Builds the pure pieces of behaviour cloning."""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
from typing import Any

import jax
import numpy as np

from serl import configs
from serl import specs
from serl import types
from serl.agents import builder
from serl.agents.bc import config as bc_config
from serl.agents.bc import learning
from serl.agents.bc import losses
from serl.agents.bc import networks as bc_networks

_EVENTS = 'gripper_events'


@dataclasses.dataclass(frozen=True)
class BCBuilder:
  """Behaviour cloning as an `agents.builder.OfflineBuilder`."""

  config: bc_config.BCConfig = dataclasses.field(
    default_factory=bc_config.BCConfig
  )

  __post_init__ = configs.check

  def make_networks(
    self, spec: specs.EnvironmentSpec
  ) -> bc_networks.BCNetworks:
    """Returns the networks for `spec`."""
    return bc_networks.make_networks(spec, self.config)

  def make_algorithm(
    self, networks: bc_networks.BCNetworks
  ) -> builder.Algorithm:
    """Returns the learning rule."""
    return learning.make_algorithm(networks, self.config)

  def make_policy(
    self, networks: bc_networks.BCNetworks, evaluation: bool = False
  ) -> builder.Policy:
    """Returns the policy that samples, or the mode's to evaluate."""
    return bc_networks.make_policy(networks, evaluation)

  def policy_params(
    self, state: learning.TrainingState
  ) -> bc_networks.BCParams:
    """Returns the averaged parameters."""
    return state.average_params

  def make_tables(self) -> Sequence[builder.TableSpec]:
    """Returns the table of all steps, and that of the gripper's events."""
    steps = builder.TableSpec(
      name='demonstrations',
      max_size=self.config.max_demonstrations,
      min_size=1,
      fraction=1 - self._event_fraction,
      source=builder.DEMONSTRATIONS,
    )
    if not self._event_fraction:
      return (steps,)
    events = dataclasses.replace(
      steps, name=_EVENTS, fraction=self._event_fraction
    )
    return steps, events

  def pieces(
    self, episode: types.Episode
  ) -> Mapping[str, Sequence[types.Episode]]:
    """Returns the whole episode, and what is around its gripper's events."""
    found = {'demonstrations': [episode]}
    if self._event_fraction:
      found[_EVENTS] = gripper_events(
        episode, self.config.gripper, self.config.event_window
      )
    return found

  def make_measure(
    self, networks: bc_networks.BCNetworks
  ) -> Callable[[learning.TrainingState, types.Transition], types.Metrics]:
    """Returns a function: state, batch [B, ...] -> values [B] by name."""
    return lambda state, batch: losses.measure(
      state.average_params, batch.observation, batch.action, networks=networks
    )

  def batch_spec(self) -> builder.BatchSpec:
    """Returns the shape of one round's batch."""
    return builder.BatchSpec(1, self.config.batch_size)

  def describe(self) -> Mapping[str, Any]:
    """Returns the configuration as plain data."""
    fields = dataclasses.asdict(self.config)
    for name in ('hidden_sizes', 'gripper'):
      fields[name] = list(fields[name])
    return {'agent': 'bc', **fields, 'encoder': self.config.encoder.describe()}

  @property
  def _event_fraction(self) -> float:
    return self.config.event_fraction if self.config.gripper else 0.0


def gripper_events(
  episode: types.Episode, gripper: Sequence[int], window: int
) -> list[types.Episode]:
  """Cuts out what is around each change of a gripper's command.

  Args:
    episode: with actions [T, A].
    gripper: the numbers of an action that command grippers.
    window: steps to take before and after the step that changes a command.

  Returns:
    Parts of the episode, in order; those that touch or overlap are one.
  """
  action = np.asarray(episode.action)
  indices = bc_networks.gripper_indices(gripper, action.shape[-1])
  classes = bc_networks.gripper_class(action[:, list(indices)])
  changes = np.flatnonzero((classes[1:] != classes[:-1]).any(axis=-1)) + 1
  near = np.zeros(episode.length + 2, bool)  # a False at either end
  for change in changes:
    near[1 + max(0, change - window) : 2 + change + window] = True
  near[-1] = False
  borders = np.flatnonzero(near[1:] != near[:-1]).reshape(-1, 2)
  return [_cut(episode, begin, end) for begin, end in borders]


def _cut(episode: types.Episode, begin: int, end: int) -> types.Episode:
  steps = jax.tree.map(lambda column: column[begin:end], episode)
  observation = jax.tree.map(
    lambda column: column[begin : end + 1], episode.observation
  )
  return steps._replace(observation=observation)
