"""An agent of one's own: TD3, on the simulated cube pick with demonstrations.

TD3, Fujimoto et al. 2018 (arXiv 1802.09477): targets by the least of two
critics at smoothed actions, and one update of the policy for two of theirs.
All else is the library's. docs/own_agent.md goes through this file.
"""

import dataclasses
import sys
from typing import Any, NamedTuple

from absl import app
import jax
import jax.numpy as jnp
import optax

from serl import programs
from serl.agents import builder
from serl.agents import rlpd
from serl.agents import sac
from serl.agents.sac import learning as sac_learning
from serl.agents.sac import losses
from serl.agents.sac import networks as sac_networks
from serl.environments.sim import pick_cube
from serl.ops import lazy_rlax as rlax
from serl.ops import soft_actor_critic
from serl.programs import command
from serl.teleop import scripted

command.define_flags(demonstrations=True)


class TrainingState(NamedTuple):
  sac: sac_learning.TrainingState  # its temperature is not used
  target_policy_params: Any


@dataclasses.dataclass(frozen=True)
class TD3Builder:
  """TD3 from state observations as an `agents.builder.Builder`."""

  # Layers, rates and sizes; what is SAC's alone is not read.
  config: sac.SACConfig = dataclasses.replace(
    sac.cpu(), critic_members=2, updates_per_round=2
  )
  exploration: float = 0.1  # standard deviations of noise: to act,
  smoothing: float = 0.2  # and in the targets,
  largest_smoothing: float = 0.5  # where it is clipped

  def make_networks(self, spec):
    return sac_networks.make_networks(spec, self.config)

  def make_algorithm(self, networks):
    config, apply_critic = self.config, networks.critic.apply

    def init(key):
      state = sac_learning.init(networks, config, key)
      return TrainingState(state, jax.tree.map(jnp.copy, state.params.policy))

    def act(policy_params, critic_params, observation):
      # A policy without noise is the mode of SAC's.
      embedding = networks.encoder.apply(critic_params.encoder, observation)
      return embedding, networks.policy.apply(policy_params, embedding).mode()

    def critic_step(state, inputs):
      batch, key = inputs
      learned, critic_params = state.sac, state.sac.target_critic_params
      embedding, action = act(
        state.target_policy_params, critic_params, batch.next_observation
      )
      noise = self.smoothing * jax.random.normal(key, action.shape)
      noise = jnp.clip(noise, -self.largest_smoothing, self.largest_smoothing)
      action = jnp.clip(action + noise, -1, 1)
      values = apply_critic(critic_params.ensemble, embedding, action)
      discount = config.discount * batch.discount
      target = soft_actor_critic.soft_target(batch.reward, discount, values)
      gradients, metrics = jax.grad(losses.critic_loss, has_aux=True)(
        learned.params.critic, batch, target, batch.weight, networks=networks
      )
      learned = sac_learning.descend(config, learned, {'critic': gradients})
      return state._replace(sac=learned), metrics

    def policy_loss(policy_params, critic_params, observation):
      embedding, action = act(policy_params, critic_params, observation)
      critic = critic_params.ensemble
      value = lambda action: apply_critic(critic, embedding, action)[0].sum()
      return jnp.mean(jax.vmap(rlax.dpg_loss)(action, jax.grad(value)(action)))

    def update(state, batch):
      key, noise_key = jax.random.split(state.sac.key)
      keys = jax.random.split(noise_key, config.updates_per_round)
      state, metrics = jax.lax.scan(critic_step, state, (batch, keys))
      policy_params, critic_params, _ = state.sac.params
      last = jax.tree.map(lambda x: x[-1], batch.observation)
      gradients = jax.grad(policy_loss)(policy_params, critic_params, last)
      learned = sac_learning.descend(config, state.sac, {'policy': gradients})
      policy_params, critic_params = optax.incremental_update(
        (learned.params.policy, learned.params.critic),
        (state.target_policy_params, learned.target_critic_params),
        config.target_rate,
      )
      learned = learned._replace(target_critic_params=critic_params, key=key)
      metrics = sac_learning.mean_metrics(metrics)
      return TrainingState(learned, policy_params), metrics

    return builder.Algorithm(init, update)

  def make_policy(self, networks, evaluation=False):
    mode = sac_networks.make_policy(networks, evaluation=True)

    def policy(params, key, observation):
      action = mode(params, key, observation)
      noise = 0.0 if evaluation else jax.random.normal(key, action.shape)
      return jnp.clip(action + self.exploration * noise, -1, 1)

    return policy

  def policy_params(self, state):
    return sac.SACBuilder(self.config).policy_params(state.sac)

  def make_tables(self):
    return sac.SACBuilder(self.config).make_tables()

  def batch_spec(self):
    return sac.SACBuilder(self.config).batch_spec()

  def describe(self):
    return {'agent': 'td3', **dataclasses.asdict(self)}


def main(_):
  folder, make = command.run_dir('runs/own_agent'), pick_cube.make
  expert = scripted.PickCubeExpert
  demonstrations = command.demonstrations(folder, make, expert)
  config = programs.RunConfig(
    run_dir=folder,
    make_environment=make,
    builder=rlpd.RLPDBuilder(TD3Builder()),
    demonstrations=demonstrations,
    episode_steps=pick_cube.EPISODE_STEPS,
    **command.fields(
      stop_at_successes=20, updates_per_step=1.6, steps_per_second=50
    ),
  )
  sys.exit(command.run(config))


if __name__ == '__main__':
  app.run(main)
