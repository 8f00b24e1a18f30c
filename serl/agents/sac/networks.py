"""The networks of SAC and what acts with them."""

import dataclasses
from typing import NamedTuple

import jax

from serl import specs
from serl import types
from serl.agents import builder
from serl.agents.sac import config as sac_config
from serl.networks import critics
from serl.networks import encoders
from serl.networks import feed_forward
from serl.networks import policies


class CriticParams(NamedTuple):
  """What the critics' loss trains."""

  encoder: types.Params  # {} where observations are states
  ensemble: types.Params  # every leaf [N, ...]


class PolicyParams(NamedTuple):
  """What an actor needs."""

  encoder: types.Params
  policy: types.Params


@dataclasses.dataclass(frozen=True)
class SACNetworks:
  """Pure functions over explicit parameters.

  The encoder stands in front of policy and critics and is trained through the
  critics alone.
  """

  # observation [B, ...] -> embedding [B, E]
  encoder: feed_forward.FeedForward
  # embedding [B, E] -> TanhNormal over [B, action_size]
  policy: feed_forward.FeedForward
  # embedding [B, E], action [B, action_size] -> values [N, B]
  critic: feed_forward.FeedForward
  action_size: int


def make_networks(
  spec: specs.EnvironmentSpec,
  config: sac_config.SACConfig,
  encoder: encoders.Encoder | None = None,
) -> SACNetworks:
  """Makes the networks.

  Args:
    spec: of the environment; actions must be one vector in [-1, 1].
    config: hidden layers, ensemble size, bounds of std, scaling.
    encoder: of the observations; None concatenates those of state.

  Raises:
    ValueError: if the actions are anything else.
  """
  action_size = policies.action_size(spec.actions)
  if encoder is None:
    encoder = encoders.make_state_encoder(
      spec.observations, config.scale_observations
    )
  return SACNetworks(
    encoder=feed_forward.FeedForward(encoder.init, encoder.apply),
    policy=policies.make_tanh_normal_policy(
      encoder.size,
      action_size,
      config.hidden_sizes,
      config.min_std,
      config.max_std,
      config.activation,
      config.layer_norm,
    ),
    critic=critics.make_critic_ensemble(
      encoder.size,
      action_size,
      config.hidden_sizes,
      config.critic_members,
      config.quirks.shared_value_head,
      config.activation,
      config.layer_norm,
    ),
    action_size=action_size,
  )


def make_policy(networks: SACNetworks, evaluation: bool) -> builder.Policy:
  """Makes the policy that samples, or with `evaluation` takes the mode."""

  def policy(
    params: PolicyParams, key: types.PRNGKey, observation: types.NestedArray
  ) -> jax.Array:
    batch = jax.tree.map(lambda x: x[None], observation)
    embedding = networks.encoder.apply(params.encoder, batch)
    distribution = networks.policy.apply(params.policy, embedding)
    if evaluation:
      return distribution.mode()[0]
    noise = jax.random.normal(key, distribution.mean.shape)
    return distribution.sample(noise)[0]

  return policy
