"""The networks of the hybrid agent and what acts with them."""

import dataclasses
from typing import NamedTuple

import chex
import haiku as hk
import jax
import jax.numpy as jnp

from serl import specs
from serl import types
from serl.agents import builder
from serl.agents.hybrid import config as hybrid_config
from serl.agents.hybrid import gripper
from serl.agents.sac import config as sac_config
from serl.agents.sac import networks as sac_networks
from serl.networks import feed_forward
from serl.networks import mlp
from serl.networks import policies
from serl.ops import lazy_rlax as rlax


class PolicyParams(NamedTuple):
  """What an actor needs."""

  agent: sac_networks.PolicyParams
  gripper_critic: types.Params


@dataclasses.dataclass(frozen=True)
class HybridNetworks:
  """The agent's networks, and the gripper critic behind the same encoder."""

  # Of actions without the gripper.
  agent: sac_networks.SACNetworks
  # embedding [B, E] -> values [B, 3] of `gripper.CHOICES`
  gripper_critic: feed_forward.FeedForward
  is_closed: gripper.IsClosed


def without_gripper(spec: specs.EnvironmentSpec) -> specs.EnvironmentSpec:
  """Returns the spec that the continuous policy is made for.

  Raises:
    ValueError: if actions are no vector in [-1, 1], or of the gripper alone.
  """
  size = policies.action_size(spec.actions)
  if size < 2:
    raise ValueError(
      f'The action spec is {spec.actions}, expected at least two numbers: a '
      'motion, and the gripper as the last.'
    )
  actions = spec.actions.replace(shape=(size - 1,), minimum=-1.0, maximum=1.0)
  return spec._replace(actions=actions)


def make_networks(
  spec: specs.EnvironmentSpec,
  config: hybrid_config.HybridConfig,
  agent: sac_networks.SACNetworks,
  agent_config: sac_config.SACConfig,
) -> HybridNetworks:
  """Makes the networks.

  Args:
    spec: of the environment.
    config: how the gripper is observed.
    agent: networks of the continuous policy, for `without_gripper(spec)`.
    agent_config: the agent's, whose hidden layers the gripper critic has, too.

  Raises:
    ValueError: if the gripper is not observed; see `gripper.make_is_closed`.
  """

  def forward(embedding: jax.Array) -> jax.Array:
    chex.assert_rank(embedding, 2)
    chex.assert_type(embedding, float)
    hidden = mlp.MLP(
      agent_config.hidden_sizes,
      activation=agent_config.activation,
      layer_norm=agent_config.layer_norm,
    )(embedding)
    return mlp.Linear(len(gripper.CHOICES), name='values')(hidden)

  network = hk.without_apply_rng(hk.transform(forward))
  observation = jax.tree.map(
    lambda x: x[None], specs.zeros_like(spec.observations)
  )

  def embed(key: types.PRNGKey) -> jax.Array:
    return agent.encoder.apply(agent.encoder.init(key), observation)

  def init(key: types.PRNGKey) -> types.Params:
    embedding = jax.eval_shape(embed, key)
    return network.init(key, jnp.zeros(embedding.shape, embedding.dtype))

  return HybridNetworks(
    agent=agent,
    gripper_critic=feed_forward.FeedForward(init, network.apply),
    is_closed=gripper.make_is_closed(spec.observations, config),
  )


def make_policy(
  networks: HybridNetworks,
  config: hybrid_config.HybridConfig,
  agent_policy: builder.Policy,
  evaluation: bool,
) -> builder.Policy:
  """Makes the policy: the agent's motion, and the gripper's best choice.

  With `evaluation` the choice is never drawn at random; see
  `HybridConfig.epsilon`.
  """

  def policy(
    params: PolicyParams, key: types.PRNGKey, observation: types.NestedArray
  ) -> jax.Array:
    motion_key, choice_key = jax.random.split(key)
    motion = agent_policy(params.agent, motion_key, observation)
    # The agent's policy embeds the same: compiled, that is computed once.
    batch = jax.tree.map(lambda x: x[None], observation)
    embedding = networks.agent.encoder.apply(params.agent.encoder, batch)
    values = networks.gripper_critic.apply(params.gripper_critic, embedding)
    if evaluation:
      chosen = jnp.argmax(values[0])
    else:
      explore = rlax.epsilon_greedy(config.epsilon)
      chosen = explore.sample(choice_key, values[0])
    return jnp.append(motion, gripper.entries(chosen, config.closing))

  return policy
