"""Replays a golden DrQ file: updates from two cameras, on this code.

What is recorded of an update (crops, noise, drawn critics) takes the place of
what would be drawn; the rest is `golden_sac`'s.
"""

from collections.abc import Mapping
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax

from serl import specs
from serl import types
from serl.agents.drq import learning as drq_learning
from serl.agents.sac import config as sac_config
from serl.agents.sac import learning
from serl.agents.sac import losses
from serl.agents.sac import networks as sac_networks
from serl.agents.sac import quirks
from serl.networks import encoders
from serl.tools import golden_sac
from serl.tools import golden_sac_names

INPUTS = re.compile(
  r'(config|init|meta)/.*|forward/(observations|actions)(/.*)?'
  r'|step\d+/(batch|crop_obs|crop_next_obs)(/.*)?|step\d+/.*/(next_)?eps'
  r'|step\d+/critic/subsample_idcs'
)

_ENCODER = 'modules_actor/encoder'
_PADDING = 4  # pixels, that the recorded offsets were drawn for


def is_golden(golden: golden_sac.Golden) -> bool:
  """Returns whether a file is one of recorded DrQ updates."""
  return {'step0/crop_obs', 'config/discount'} <= golden.keys()


def replay(golden: golden_sac.Golden) -> golden_sac.Computed:
  """Yields all that this code computes for a file, in the file's order."""
  config = _read_config(golden)
  networks = _make_networks(golden, config)
  tree = golden_sac_names.Tree(
    len(config.hidden_sizes),
    _encoder_names(golden),
    'shared_value' if config.quirks.shared_value_head else 'value',
  )
  params = tree.from_flat(golden_sac.under(golden, 'init/params'))
  state = learning.TrainingState(
    params=params,
    target_critic_params=params.critic,
    optimisers=losses.SACParams(
      *(o.init(p) for o, p in zip(learning.make_optimisers(config), params))
    ),
    key=jax.random.PRNGKey(0),
  )
  yield from _forward(golden, networks, params)
  targets = params
  for i in range(_count_steps(golden)):
    prefix = f'step{i}'
    batch = read_batch(golden, prefix)
    state = yield from _critic_step(
      golden, prefix, networks, config, state, batch
    )
    targets = optax.incremental_update(
      state.params, targets, config.target_rate
    )
    if f'{prefix}/actor/eps' in golden:
      state = yield from _policy_step(
        golden, prefix, networks, config, state, batch
      )
  targets = targets._replace(critic=state.target_critic_params)
  for name, tree_of in (('params', state.params), ('target_params', targets)):
    for path, leaf in tree.to_flat(tree_of).items():
      yield f'final/{name}', f'final/{name}/{path}', leaf


def _forward(golden, networks, params) -> golden_sac.Computed:
  observation = _read_observation(golden, 'forward/observations')
  action = jnp.asarray(golden['forward/actions'])
  distribution = golden_sac.policy_of(networks, params, observation)
  yield 'forward', 'forward/mean', distribution.mean
  yield 'forward', 'forward/std', distribution.std
  yield (
    'forward',
    'forward/q',
    golden_sac.values(networks, params.critic, observation, action),
  )


def _critic_step(golden, prefix, networks, config, state, batch):
  """Yields what a critic update computes; returns the state after it."""
  noise = losses.CriticNoise(
    next_action=jnp.asarray(golden[f'{prefix}/critic/next_eps']),
    members=jnp.asarray(golden[f'{prefix}/critic/subsample_idcs']),
  )
  group = f'{prefix}/critic'
  arrays = golden_sac.critic_arrays(networks, config, state, batch, noise)
  for name, value in arrays.items():
    yield group, f'{group}/{name}', value
  state, metrics = golden_sac.critic_step(networks, config, state, batch, noise)
  yield group, f'{group}/loss', metrics['critic_loss']
  names = {
    'critic/critic_loss': 'critic_loss',
    'critic/predicted_qs': 'critic_value',
    'critic/target_qs': 'target_value',
  }
  for theirs, ours in names.items():
    yield f'{prefix}/info', f'{prefix}/info/{theirs}', metrics[ours]
  for name, rate in zip(
    ('actor', 'critic', 'temperature'), learning.learning_rates(config)
  ):
    yield f'{prefix}/info', f'{prefix}/info/{name}_lr', rate(0)
  return state


def _policy_step(golden, prefix, networks, config, state, batch):
  """Yields what an update of the policy computes; returns the state after."""
  noise = losses.PolicyNoise(
    action=jnp.asarray(golden[f'{prefix}/actor/eps']),
    next_action=jnp.asarray(golden[f'{prefix}/temperature/next_eps']),
  )
  arrays = golden_sac.policy_arrays(networks, config, state, batch, noise)
  for name, value in arrays.items():
    yield f'{prefix}/{name.split("/")[0]}', f'{prefix}/{name}', value
  state, metrics = golden_sac.policy_step(networks, config, state, batch, noise)
  names = {
    'actor/actor_loss': 'actor_loss',
    'actor/entropy': 'entropy',
    'actor/temperature': 'temperature',
    'temperature/temperature_loss': 'temperature_loss',
  }
  for theirs, ours in names.items():
    yield f'{prefix}/info', f'{prefix}/info/{theirs}', metrics[ours]
  return state


def _read_config(golden: golden_sac.Golden) -> sac_config.SACConfig:
  rates = {
    f'{ours}_learning_rate': float(f'{float(golden[key]):.3g}')
    for ours, key in (
      ('policy', 'step0/info/actor_lr'),
      ('critic', 'step0/info/critic_lr'),
      ('temperature', 'step0/info/temperature_lr'),
    )
  }
  head = golden['init/params/modules_critic/Dense_0/kernel']
  return sac_config.SACConfig(
    batch_size=len(golden['step0/batch/actions']),
    updates_per_round=1,
    discount=float(golden['config/discount']),
    critic_members=int(golden['config/critic_ensemble_size']),
    target_members=int(golden['config/critic_subsample_size']),
    target_rate=float(golden['config/soft_target_update_rate']),
    warmup_steps=0,
    target_entropy=float(golden['config/target_entropy']),
    entropy_in_backup=bool(golden['config/backup_entropy']),
    hidden_sizes=golden_sac_names.hidden_sizes(golden),
    quirks=quirks.SERLQuirks(
      draw_with_replacement=True,
      step_idle_optimisers=True,
      shared_value_head=head.ndim == 2,
    ),
    **rates,
  )


def _make_networks(
  golden: golden_sac.Golden, config: sac_config.SACConfig
) -> sac_networks.SACNetworks:
  observations = {}
  for path, array in _read_observation(golden, 'forward/observations').items():
    shape = array.shape[1:]
    if array.dtype == np.uint8:
      observations[path] = specs.BoundedArray(shape, np.uint8, 0, 255)
    else:
      observations[path] = specs.Array(shape, np.float32)
  spec = specs.EnvironmentSpec(
    observations=observations,
    actions=specs.BoundedArray(
      golden['forward/actions'].shape[1:], np.float32, -1.0, 1.0
    ),
    rewards=specs.Array((), np.float32),
    discounts=specs.BoundedArray((), np.float32, 0.0, 1.0),
  )
  leaves = golden_sac.under(golden, f'init/params/{_ENCODER}')
  camera = f'encoder_{_cameras(golden)[0]}'
  features, i = [], 0
  while f'{camera}/Conv_{i}/kernel' in leaves:
    features.append(leaves[f'{camera}/Conv_{i}/kernel'].shape[-1])
    i += 1
  embeddings = leaves.get(f'{camera}/SpatialLearnedEmbeddings_0/kernel')
  encoder_config = encoders.EncoderConfig(
    kind='small',
    features=tuple(features),
    pooling='average' if embeddings is None else 'spatial_embeddings',
    spatial_features=8 if embeddings is None else embeddings.shape[-1],
    bottleneck_size=leaves[f'{camera}/Dense_0/kernel'].shape[-1],
    proprioception_size=leaves['Dense_0/kernel'].shape[-1],
  )
  encoder = encoders.make_encoder(observations, encoder_config)
  return sac_networks.make_networks(spec, config, encoder)


def _encoder_names(
  golden: golden_sac.Golden,
) -> dict[tuple[str, str], str]:
  """Returns the reference's names of the parameters of the encoder."""
  linear = {'w': 'kernel', 'b': 'bias'}
  norm = {'scale': 'scale', 'offset': 'bias'}
  modules: dict[str, tuple[str, Mapping[str, str]]] = {
    'proprioception/linear_0': ('Dense_0', linear),
    'proprioception/layer_norm_0': ('LayerNorm_0', norm),
  }
  for camera in _cameras(golden):
    root = f'encoder_{camera}'
    modules |= {
      f'{camera}/bottleneck/linear_0': (f'{root}/Dense_0', linear),
      f'{camera}/bottleneck/layer_norm_0': (f'{root}/LayerNorm_0', norm),
      f'{camera}/spatial_embeddings': (
        f'{root}/SpatialLearnedEmbeddings_0',
        {'w': 'kernel'},
      ),
    }
    for i in range(len(golden)):
      if f'init/params/{_ENCODER}/{root}/Conv_{i}/kernel' not in golden:
        break
      modules[f'{camera}/trunk/conv_{i}'] = (f'{root}/Conv_{i}', linear)
  names = {
    (module, ours): f'{_ENCODER}/{path}/{theirs}'
    for module, (path, leaves) in modules.items()
    for ours, theirs in leaves.items()
  }
  return {
    key: path for key, path in names.items() if f'init/params/{path}' in golden
  }


def _cameras(golden: golden_sac.Golden) -> list[str]:
  observations = golden_sac.under(golden, 'forward/observations')
  return sorted(k for k, v in observations.items() if v.dtype == np.uint8)


def _count_steps(golden: golden_sac.Golden) -> int:
  steps = 0
  while f'step{steps}/crop_obs' in golden:
    steps += 1
  return steps


def _read_observation(
  golden: golden_sac.Golden, prefix: str
) -> dict[str, jax.Array]:
  found = golden_sac.under(golden, prefix)
  return {path: jnp.asarray(array) for path, array in found.items()}


def read_batch(golden: golden_sac.Golden, prefix: str) -> types.Batch:
  """Returns the cropped minibatch of an update.

  An image of a transition holds the frames of both observations: the stack of
  the first, then those that the next one has beyond it.
  """
  observation = _read_observation(golden, f'{prefix}/batch/observations')
  next_observation = _read_observation(
    golden, f'{prefix}/batch/next_observations'
  )
  for camera in _cameras(golden):
    frames = observation[camera]
    observation[camera] = frames[:, :-1]
    next_observation[camera] = frames[:, 1:]
  rows = {
    field: jnp.asarray(golden[f'{prefix}/batch/{name}'])
    for field, name in (
      ('action', 'actions'),
      ('reward', 'rewards'),
      ('discount', 'masks'),
    )
  }
  batch = types.Batch.uniform(
    types.Transition(
      observation=observation, next_observation=next_observation, **rows
    )
  )
  # All cameras have the same crop there.
  spread = lambda name: {
    camera: jnp.asarray(golden[f'{prefix}/{name}'])
    for camera in _cameras(golden)
  }
  offsets = drq_learning.CropOffsets(
    spread('crop_obs'), spread('crop_next_obs')
  )
  batch = jax.tree.map(lambda x: x[None], batch)
  cropped = drq_learning.crop(batch, offsets, _PADDING)
  return jax.tree.map(lambda x: x[0], cropped)
