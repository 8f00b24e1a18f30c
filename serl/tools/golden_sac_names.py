"""The reference's names of SAC's parameters, mapped to this code's."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from serl.agents.sac import losses
from serl.agents.sac import networks as sac_networks

_POLICY = 'modules_actor'
_CRITIC = 'modules_critic'
_TEMPERATURE = 'modules_temperature/lagrange'


class Tree(NamedTuple):
  """A SACParams of trees between two namings."""

  layers: int  # hidden layers
  # Of the encoder: (module, name) -> the reference's name.
  encoder: Mapping[tuple[str, str], str] = {}
  value_head: str = 'value'  # this code's module

  def to_flat(self, tree: losses.SACParams) -> dict[str, jax.Array]:
    """Returns the leaves by the reference's names."""
    flat = {_TEMPERATURE: tree.temperature}
    for names, params in (
      (self._policy_names(), tree.policy),
      (self._critic_names(), tree.critic.ensemble),
      (self.encoder, tree.critic.encoder),
    ):
      flat.update({path: params[m][n] for (m, n), path in names.items()})
    return flat

  def from_flat(self, flat: Mapping[str, np.ndarray]) -> losses.SACParams:
    """Returns the tree of the leaves that have the reference's names."""

    def pick(names):
      params = {}
      for (module, name), path in names.items():
        params.setdefault(module, {})[name] = jnp.asarray(flat[path])
      return params

    return losses.SACParams(
      policy=pick(self._policy_names()),
      critic=sac_networks.CriticParams(
        pick(self.encoder), pick(self._critic_names())
      ),
      temperature=jnp.asarray(flat[_TEMPERATURE]),
    )

  def _policy_names(self) -> dict[tuple[str, str], str]:
    heads = {'mean': 'Dense_0', 'log_std': 'Dense_1'}
    return self._names(_POLICY, heads)

  def _critic_names(self) -> dict[tuple[str, str], str]:
    return self._names(_CRITIC, {self.value_head: 'Dense_0'})

  def _names(
    self, root: str, heads: Mapping[str, str]
  ) -> dict[tuple[str, str], str]:
    linears = dict(heads)
    norms = {}
    for i in range(self.layers):
      linears[f'mlp/linear_{i}'] = f'network/Dense_{i}'
      norms[f'mlp/layer_norm_{i}'] = f'network/LayerNorm_{i}'
    names = {}
    for module, path in linears.items():
      names[module, 'w'] = f'{root}/{path}/kernel'
      names[module, 'b'] = f'{root}/{path}/bias'
    for module, path in norms.items():
      names[module, 'scale'] = f'{root}/{path}/scale'
      names[module, 'offset'] = f'{root}/{path}/bias'
    return names


def hidden_sizes(golden: Mapping[str, np.ndarray]) -> tuple[int, ...]:
  """Returns the widths of the hidden layers in a golden file."""
  sizes: list[int] = []
  while True:
    layer = f'init/params/{_POLICY}/network/Dense_{len(sizes)}'
    if f'{layer}/kernel' not in golden:
      return tuple(sizes)
    sizes.append(golden[f'{layer}/kernel'].shape[-1])
