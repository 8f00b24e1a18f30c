"""The networks of behaviour cloning and what acts with them."""

from collections.abc import Sequence
import dataclasses
from typing import NamedTuple

import chex
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from serl import specs
from serl import types
from serl.agents import builder
from serl.agents.bc import config as bc_config
from serl.networks import distributions
from serl.networks import encoders
from serl.networks import feed_forward
from serl.networks import mlp
from serl.networks import policies

# A gripper's command as a class, and the action that each class stands for.
_THRESHOLD = 0.5
_COMMANDS = (-1.0, 0.0, 1.0)


class BCParams(NamedTuple):
  """What the loss trains and an actor needs."""

  encoder: types.Params  # {} where observations are states
  policy: types.Params


class PolicyOutput(NamedTuple):
  """What the policy says of a batch of B observations."""

  # Over the M numbers of the action that command no gripper, [B, M].
  movement: distributions.Normal | distributions.TanhNormal
  gripper: jax.Array  # logits of the G grippers' classes, [B, G, 3]


@dataclasses.dataclass(frozen=True)
class BCNetworks:
  """Pure functions over explicit parameters."""

  encoder: feed_forward.FeedForward  # observation [B, ...] -> [B, E]
  policy: feed_forward.FeedForward  # embedding [B, E] -> PolicyOutput
  movement_indices: tuple[int, ...]  # of the action, [M]
  gripper_indices: tuple[int, ...]  # [G]

  def apply(
    self, params: BCParams, observation: types.NestedArray
  ) -> PolicyOutput:
    """Returns what the policy says of observations [B, ...]."""
    embedding = self.encoder.apply(params.encoder, observation)
    return self.policy.apply(params.policy, embedding)

  def split_action(self, action: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Splits actions [..., A] into movements [..., M] and classes [..., G]."""
    movement = action[..., list(self.movement_indices)]
    gripper = action[..., list(self.gripper_indices)]
    return movement, gripper_class(gripper)

  def join_action(self, movement: jax.Array, classes: jax.Array) -> jax.Array:
    """Joins movements [..., M] and classes [..., G] to actions [..., A]."""
    commands = jnp.asarray(_COMMANDS, movement.dtype)[classes]
    columns = jnp.concatenate([movement, commands], axis=-1)
    order = np.argsort((*self.movement_indices, *self.gripper_indices))
    return columns[..., order]


def gripper_class(command: jax.Array | np.ndarray) -> jax.Array | np.ndarray:
  """Returns 0, 1 or 2 for commands below, between and above the thresholds."""
  return 1 + (command > _THRESHOLD) - 1 * (command < -_THRESHOLD)


def make_networks(
  spec: specs.EnvironmentSpec, config: bc_config.BCConfig
) -> BCNetworks:
  """Makes the networks.

  Args:
    spec: of the environment; actions must be one vector in [-1, 1].
    config: hidden sizes, head, grippers, encoder.

  Raises:
    ValueError: the actions are anything else, or have no such grippers.
  """
  action_size = policies.action_size(spec.actions)
  grippers = gripper_indices(config.gripper, action_size)
  movements = tuple(i for i in range(action_size) if i not in grippers)
  encoder = _make_encoder(spec.observations, config)
  return BCNetworks(
    encoder=feed_forward.FeedForward(encoder.init, encoder.apply),
    policy=_make_policy(encoder.size, len(movements), len(grippers), config),
    movement_indices=movements,
    gripper_indices=grippers,
  )


def gripper_indices(given: Sequence[int], action_size: int) -> tuple[int, ...]:
  """Returns the numbers of the action that command grippers, ascending.

  Raises:
    ValueError: an action has no such number, or nothing else is left of it.
  """
  outside = [i for i in given if not -action_size <= i < action_size]
  indices = tuple(sorted({i % action_size for i in given}))
  if outside or len(indices) == action_size:
    raise ValueError(
      f'BCConfig.gripper is {tuple(given)}, expected indices of some, not all, '
      f'of the {action_size} numbers of an action.'
    )
  return indices


def _make_encoder(
  spec: types.NestedSpec, config: bc_config.BCConfig
) -> encoders.Encoder:
  if encoders.image_paths(spec):
    return encoders.make_encoder(spec, config.encoder)
  return encoders.make_state_encoder(spec, config.scale_observations)


def _make_policy(
  embedding_size: int,
  movements: int,
  grippers: int,
  config: bc_config.BCConfig,
) -> feed_forward.FeedForward:
  distribution = {
    'normal': distributions.Normal,
    'tanh_normal': distributions.TanhNormal,
  }[config.head]

  def forward(embedding: jax.Array) -> PolicyOutput:
    chex.assert_shape(embedding, (None, embedding_size))
    chex.assert_type(embedding, float)
    hidden = mlp.MLP(
      config.hidden_sizes,
      activation=config.activation,
      layer_norm=config.layer_norm,
    )(embedding)
    mean = mlp.Linear(movements, name='mean')(hidden)
    log_std = mlp.Linear(movements, name='log_std')(hidden)
    std = jnp.clip(jnp.exp(log_std), config.min_std, config.max_std)
    logits = jnp.zeros((*hidden.shape[:-1], 0, len(_COMMANDS)))
    if grippers:
      logits = mlp.Linear(grippers * len(_COMMANDS), name='gripper')(hidden)
      logits = logits.reshape(*hidden.shape[:-1], grippers, len(_COMMANDS))
    return PolicyOutput(distribution(mean, std), logits)

  network = hk.without_apply_rng(hk.transform(forward))
  example = jnp.zeros((1, embedding_size))
  return feed_forward.FeedForward(
    init=lambda key: network.init(key, example), apply=network.apply
  )


def make_policy(networks: BCNetworks, evaluation: bool) -> builder.Policy:
  """Makes the policy that samples, or with `evaluation` takes the mode."""

  def policy(
    params: BCParams, key: types.PRNGKey, observation: types.NestedArray
  ) -> jax.Array:
    batch = jax.tree.map(lambda x: x[None], observation)
    output = networks.apply(params, batch)
    if evaluation:
      return mode(networks, output)[0]
    movement_key, gripper_key = jax.random.split(key)
    noise = jax.random.normal(movement_key, output.movement.mean.shape)
    movement = jnp.clip(output.movement.sample(noise), -1.0, 1.0)
    classes = jax.random.categorical(gripper_key, output.gripper)
    return networks.join_action(movement, classes)[0]

  return policy


def mode(networks: BCNetworks, output: PolicyOutput) -> jax.Array:
  """Returns the most likely actions, [B, A] in [-1, 1]."""
  movement = jnp.clip(output.movement.mode(), -1.0, 1.0)
  return networks.join_action(movement, jnp.argmax(output.gripper, axis=-1))
