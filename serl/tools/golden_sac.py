"""Replays a golden SAC file, the reference's recorded numbers, on this code.

Everything goes through `serl.agents.sac`: the recorded parameters become this
code's, the recorded noise takes the place of that drawn from a key, and the
same update functions that training jits do the steps.
"""

from collections.abc import Iterator, Mapping
import functools
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from serl import specs
from serl import types
from serl.agents.sac import config as sac_config
from serl.agents.sac import learning
from serl.agents.sac import losses
from serl.agents.sac import networks as sac_networks
from serl.agents.sac import quirks
from serl.networks import distributions
from serl.ops import soft_actor_critic
from serl.tools import golden_sac_names

# The arrays of a golden file by key.
Golden = Mapping[str, np.ndarray]
# (group, key in the file, what this code computes for it)
Computed = Iterator[tuple[str, str, Any]]

# What a replay takes from a file and therefore does not compare.
INPUTS = re.compile(
  r'(config|meta)/.*|forward/(observations|actions)|temperature/init'
  r'|round\d+/batch/.*|.*/(next_)?eps|.*/subsample_idcs'
)

# The reference's names of its optimisers.
_OPTIMISERS = losses.SACParams('actor', 'critic', 'temperature')
# Steps of the warm-up in files that end before it does (goldens/KEYS.md).
_WARMUP_STEPS = 2000


def is_golden(golden: Golden) -> bool:
  """Returns whether a file is one of recorded SAC rounds."""
  return {'meta/utd', 'meta/minibatch', 'meta/rounds'} <= golden.keys()


def read_config(golden: Golden) -> sac_config.SACConfig:
  """Returns the configuration that a file was recorded with."""

  rates = losses.SACParams(*(_read_rate(golden, n) for n in _OPTIMISERS))
  if rates.policy != rates.critic and rates.policy[1] != rates.critic[1]:
    raise ValueError(
      f'The warm-ups of the actor, {rates.policy[1]}, and of the critic, '
      f'{rates.critic[1]}, differ, expected the same.'
    )
  return sac_config.SACConfig(
    batch_size=int(golden['meta/minibatch']),
    updates_per_round=int(golden['meta/utd']),
    discount=float(golden['config/discount']),
    critic_members=int(golden['config/critic_ensemble_size']),
    target_members=int(golden['config/critic_subsample_size']),
    target_rate=float(golden['config/soft_target_update_rate']),
    policy_learning_rate=rates.policy[0],
    critic_learning_rate=rates.critic[0],
    temperature_learning_rate=rates.temperature[0],
    warmup_steps=rates.policy[1],
    temperature_warmup_steps=rates.temperature[1],
    initial_temperature=float(golden['temperature/init']),
    target_entropy=float(golden['config/target_entropy']),
    entropy_in_backup=bool(golden['config/backup_entropy']),
    hidden_sizes=golden_sac_names.hidden_sizes(golden),
    quirks=quirks.SERLQuirks(
      draw_with_replacement=True,
      step_idle_optimisers=True,
      actor_batch='round',
    ),
  )


def replay(golden: Golden) -> Computed:
  """Yields all that this code computes for a file, in the file's order."""
  config = read_config(golden)
  networks = _make_networks(golden, config)
  tree = golden_sac_names.Tree(len(config.hidden_sizes))
  state = _initial_state(golden, config, tree)
  # The reference moves targets of policy and temperature, too. Nothing reads
  # them, and this code keeps none: they are followed here for comparison.
  targets = tree.from_flat(under(golden, 'init/target_params'))
  yield from _forward(golden, networks, state)
  yield from _state_arrays('init', config, tree, state, targets)
  for i in range(int(golden['meta/rounds'])):
    prefix = f'round{i}'
    batch = _read_batch(golden, prefix, config)
    noise = _read_noise(golden, prefix, config)
    after, metrics = _update_round(networks, config, state, batch, noise)
    steps = _replay_steps(
      prefix, networks, config, _Round(tree, state, targets, batch, noise)
    )
    targets = yield from steps
    yield from _state_arrays(f'{prefix}/after', config, tree, after, targets)
    yield from _info(prefix, config, after, metrics)
    state = after


class _Round(NamedTuple):
  """What a round starts from."""

  tree: golden_sac_names.Tree
  state: learning.TrainingState
  targets: losses.SACParams  # of all parameters
  batch: types.Batch
  noise: learning.RoundNoise


def _replay_steps(prefix, networks, config, start):
  """Does a round step by step, for what happens between the steps.

  Yields what is computed; returns the targets of all parameters.
  """
  tree, state, targets, batch, noise = start
  for i in range(config.updates_per_round):
    step = jax.tree.map(lambda x, i=i: x[i], (batch, noise.critic))
    group = f'{prefix}/critic_step{i}'
    for name, value in critic_arrays(networks, config, state, *step).items():
      yield group, f'{group}/critic/{name}', value
    state, metrics = critic_step(networks, config, state, *step)
    yield group, f'{group}/critic/loss', metrics['critic_loss']
    targets = optax.incremental_update(
      state.params, targets, config.target_rate
    )
    group = f'{prefix}/after_critic_step{i}'
    yield from _state_arrays(group, config, tree, state, targets)
  rows = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), batch)
  group = f'{prefix}/actor_step'
  arrays = policy_arrays(networks, config, state, rows, noise.policy)
  for name, value in arrays.items():
    yield group, f'{group}/{name}', value
  return targets


_PURE = {'static_argnames': ('networks', 'config')}
_update_round = jax.jit(learning.update_round, **_PURE)
critic_step = jax.jit(learning.critic_step, **_PURE)
policy_step = jax.jit(learning.policy_step, **_PURE)


@functools.partial(jax.jit, **_PURE)
def critic_arrays(
  networks: sac_networks.SACNetworks,
  config: sac_config.SACConfig,
  state: learning.TrainingState,
  batch: types.Batch,
  noise: losses.CriticNoise,
) -> dict[str, jax.Array]:
  """Returns what a critic update computes on its way."""
  params, target_params = state.params, state.target_critic_params
  arrays = _sample_arrays(
    networks, params, batch.next_observation, noise.next_action
  )
  target = losses.critic_target(
    params,
    target_params,
    batch,
    noise,
    networks=networks,
    discount=config.discount,
    entropy_in_backup=config.entropy_in_backup,
    return_bounds=config.return_bounds,
  )
  return {f'next_{name}': value for name, value in arrays.items()} | {
    'target_next_qs': values(
      networks, target_params, batch.next_observation, arrays['actions']
    ),
    'target_q': target,
    'predicted_qs': values(
      networks, params.critic, batch.observation, batch.action
    ),
  }


@functools.partial(jax.jit, **_PURE)
def policy_arrays(
  networks: sac_networks.SACNetworks,
  config: sac_config.SACConfig,
  state: learning.TrainingState,
  batch: types.Batch,
  noise: losses.PolicyNoise,
) -> dict[str, jax.Array]:
  """Returns what an update of policy and temperature computes on its way."""
  params = state.params
  actor = _sample_arrays(networks, params, batch.observation, noise.action)
  actor['qs'] = values(
    networks, params.critic, batch.observation, actor['actions']
  )
  arrays = {f'actor/{name}': value for name, value in actor.items()}
  following = _sample_arrays(
    networks, params, batch.next_observation, noise.next_action
  )
  for name, value in following.items():
    arrays[f'temperature/next_{name}'] = value
  _, metrics = learning.policy_step(networks, config, state, batch, noise)
  return arrays | {
    'actor/temperature': jax.nn.softplus(params.temperature),
    'actor/loss': metrics['actor_loss'],
    'actor/entropy': metrics['entropy'],
    'temperature/loss': metrics['temperature_loss'],
    'temperature/value': metrics['temperature'],
  }


def _forward(
  golden: Golden,
  networks: sac_networks.SACNetworks,
  state: learning.TrainingState,
) -> Computed:
  group = 'forward'
  observation = golden['forward/observations']
  action = golden['forward/actions']
  distribution = policy_of(networks, state.params, observation)
  yield group, 'forward/mean', distribution.mean
  yield group, 'forward/std', distribution.std
  yield group, 'forward/log_std', jnp.log(distribution.std)
  yield group, 'forward/mode', distribution.mode()
  for name, params in (
    ('q', state.params.critic),
    ('target_q', state.target_critic_params),
  ):
    yield (
      group,
      f'forward/{name}',
      values(networks, params, observation, action),
    )
  raw = soft_actor_critic.inverse_softplus(float(golden['temperature/init']))
  yield group, 'temperature/raw_lagrange', raw
  value = jax.nn.softplus(state.params.temperature)
  yield group, 'temperature/value', value


def _state_arrays(
  group: str,
  config: sac_config.SACConfig,
  tree: golden_sac_names.Tree,
  state: learning.TrainingState,
  targets: losses.SACParams,
) -> Computed:
  """Yields a state's arrays under the reference's names."""
  targets = targets._replace(critic=state.target_critic_params)
  for name, params in (('params', state.params), ('target_params', targets)):
    for path, leaf in tree.to_flat(params).items():
      yield group, f'{group}/{name}/{path}', leaf
  zeros = jax.tree.map(jnp.zeros_like, state.params)
  for field, net in _OPTIMISERS._asdict().items():
    adam, schedule = getattr(state.optimisers, field)
    # The reference's optimisers span all parameters; the moments of those
    # that they do not train are zero.
    for moment in ('mu', 'nu'):
      moments = zeros._replace(**{field: getattr(adam, moment)})
      for path, leaf in tree.to_flat(moments).items():
        yield group, f'{group}/opt/{net}/{moment}/{path}', leaf
    yield group, f'{group}/opt/{net}/count', adam.count
    yield group, f'{group}/opt/{net}/schedule_count', schedule.count
    yield group, f'{group}/opt/{net}/lr', _last_rate(config, field, schedule)


def _info(
  prefix: str,
  config: sac_config.SACConfig,
  state: learning.TrainingState,
  metrics: types.Metrics,
) -> Computed:
  names = {
    'actor/actor_loss': 'actor_loss',
    'actor/entropy': 'entropy',
    'critic/critic_loss': 'critic_loss',
    'critic/predicted_qs': 'critic_value',
    'critic/target_qs': 'target_value',
    'temperature/temperature_loss': 'temperature_loss',
    'actor/temperature': 'temperature',
  }
  for theirs, ours in names.items():
    yield f'{prefix}/info', f'{prefix}/info/{theirs}', metrics[ours]
  for field, net in _OPTIMISERS._asdict().items():
    _, schedule = getattr(state.optimisers, field)
    rate = _last_rate(config, field, schedule)
    yield f'{prefix}/info', f'{prefix}/info/{net}_lr', rate


def policy_of(
  networks: sac_networks.SACNetworks,
  params: losses.SACParams,
  observation: types.NestedArray,
) -> distributions.TanhNormal:
  """Returns the policy's distribution at observations [B, ...]."""
  embedding = networks.encoder.apply(params.critic.encoder, observation)
  return networks.policy.apply(params.policy, embedding)


def values(
  networks: sac_networks.SACNetworks,
  params: sac_networks.CriticParams,
  observation: types.NestedArray,
  action: jax.Array,
) -> jax.Array:
  """Returns the critics' values [N, B]."""
  embedding = networks.encoder.apply(params.encoder, observation)
  return networks.critic.apply(params.ensemble, embedding, action)


def _sample_arrays(networks, params, observation, noise):
  distribution = policy_of(networks, params, observation)
  actions, log_prob = losses.act(params, observation, noise, networks=networks)
  return {
    'mean': distribution.mean,
    'std': distribution.std,
    'pre_tanh': distribution.mean + distribution.std * noise,
    'actions': actions,
    'log_prob': log_prob,
  }


def _last_rate(
  config: sac_config.SACConfig, field: str, schedule: Any
) -> jax.Array:
  """Returns the rate of an optimiser's last update, or of its first."""
  return _rate(config, field, jnp.maximum(schedule.count - 1, 0))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _rate(config, field, count):
  return getattr(learning.learning_rates(config), field)(count)


def under(golden: Golden, prefix: str) -> dict[str, np.ndarray]:
  start = len(prefix) + 1
  return {k[start:]: v for k, v in golden.items() if k.startswith(prefix + '/')}


def _read_rate(golden: Golden, net: str) -> tuple[float, int]:
  """Returns an optimiser's rate and the steps of its warm-up."""
  rate = float(golden[f'init/opt/{net}/lr'])
  if rate > 0:
    return _round_rate(rate), 0
  last = f'round{int(golden["meta/rounds"]) - 1}/after/opt/{net}'
  updates = int(golden[f'{last}/schedule_count'])
  rate = float(golden[f'{last}/lr'])  # of the update before
  return _round_rate(rate / (updates - 1) * _WARMUP_STEPS), _WARMUP_STEPS


def _round_rate(rate: float) -> float:
  """Undoes float32: the reference was given a rate of a few digits."""
  return float(f'{rate:.3g}')


def _make_networks(
  golden: Golden, config: sac_config.SACConfig
) -> sac_networks.SACNetworks:
  def bounded(shape, minimum):
    return specs.BoundedArray(shape, np.float32, minimum, 1.0)

  observations = specs.Array(
    golden['forward/observations'].shape[1:], np.float32
  )
  spec = specs.EnvironmentSpec(
    observations=observations,
    actions=bounded(golden['forward/actions'].shape[1:], -1.0),
    rewards=specs.Array((), np.float32),
    discounts=bounded((), 0.0),
  )
  return sac_networks.make_networks(spec, config)


def _initial_state(
  golden: Golden, config: sac_config.SACConfig, tree: golden_sac_names.Tree
) -> learning.TrainingState:
  params = tree.from_flat(under(golden, 'init/params'))
  targets = tree.from_flat(under(golden, 'init/target_params'))
  optimisers = []
  for field, net in _OPTIMISERS._asdict().items():
    prefix = f'init/opt/{net}'
    fresh = getattr(learning.make_optimisers(config), field)
    adam, schedule = fresh.init(getattr(params, field))
    moments = {
      moment: getattr(
        tree.from_flat(under(golden, f'{prefix}/{moment}')), field
      )
      for moment in ('mu', 'nu')
    }
    count = jnp.asarray(golden[f'{prefix}/count'])
    updates = jnp.asarray(golden[f'{prefix}/schedule_count'])
    optimisers.append(
      (adam._replace(count=count, **moments), schedule._replace(count=updates))
    )
  return learning.TrainingState(
    params=params,
    target_critic_params=targets.critic,
    optimisers=losses.SACParams(*optimisers),
    key=jax.random.PRNGKey(0),
  )


def _read_batch(
  golden: Golden, prefix: str, config: sac_config.SACConfig
) -> types.Batch:
  def read(name):
    rows = golden[f'{prefix}/batch/{name}']
    lead = (config.updates_per_round, config.batch_size)
    return jnp.asarray(rows.reshape(*lead, *rows.shape[1:]))

  return types.Batch.uniform(
    types.Transition(
      observation=read('observations'),
      action=read('actions'),
      reward=read('rewards'),
      discount=read('masks'),
      next_observation=read('next_observations'),
    )
  )


def _read_noise(
  golden: Golden, prefix: str, config: sac_config.SACConfig
) -> learning.RoundNoise:
  def stack(name):
    steps = range(config.updates_per_round)
    keys = [f'{prefix}/critic_step{i}/critic/{name}' for i in steps]
    return jnp.stack([golden[key] for key in keys])

  step = f'{prefix}/actor_step'
  return learning.RoundNoise(
    critic=losses.CriticNoise(
      next_action=stack('next_eps'), members=stack('subsample_idcs')
    ),
    policy=losses.PolicyNoise(
      action=jnp.asarray(golden[f'{step}/actor/eps']),
      next_action=jnp.asarray(golden[f'{step}/temperature/next_eps']),
    ),
  )
