"""Multi-layer perceptrons, one or an ensemble of them as a batched product."""

from collections.abc import Sequence
from typing import Literal

import chex
import haiku as hk
import jax
import jax.numpy as jnp

from serl.networks import layer_norm

Activation = Literal['tanh', 'relu']
ACTIVATIONS = {'tanh': jnp.tanh, 'relu': jax.nn.relu}


def xavier_uniform(
  key: jax.Array, shape: Sequence[int], dtype: jnp.dtype
) -> jax.Array:
  """Returns uniform weights of variance 2 / (inputs + outputs).

  Glorot and Bengio (2010), eq. 16. The fans are those of the last two axes, so
  that each member of an ensemble is initialised as it would be alone.

  Args:
    key: a random key.
    shape: [..., inputs, outputs].
    dtype: of the result.
  """
  limit = (6 / (shape[-2] + shape[-1])) ** 0.5
  return jax.random.uniform(key, shape, dtype, -limit, limit)


class Linear(hk.Module):
  """An affine map, or one for each member of an ensemble."""

  def __init__(self, size: int, members: int | None = None, name: str = ''):
    """Initialises the module.

    Args:
      size: the number of outputs.
      members: the number of members N, None for a plain layer.
      name: the module's name.
    """
    super().__init__(name=name or None)
    self._size = size
    self._lead = () if members is None else (members,)

  def __call__(self, inputs: jax.Array) -> jax.Array:
    """Maps [B, inputs] or [N, B, inputs] to [B, size] or [N, B, size].

    An ensemble takes either: [B, inputs] is what all members share. So does a
    plain layer, which members then share.
    """

    def init(shape, dtype):
      return xavier_uniform(hk.next_rng_key(), shape, dtype)

    shape = (*self._lead, inputs.shape[-1], self._size)
    w = hk.get_parameter('w', shape, inputs.dtype, init)
    b = hk.get_parameter(
      'b', (*self._lead, self._size), inputs.dtype, jnp.zeros
    )
    if self._lead:
      # Twice as fast on a CPU as one wide product and its transpositions.
      inputs = jnp.broadcast_to(inputs, (*self._lead, *inputs.shape[-2:]))
    return jnp.matmul(inputs, w) + b[..., None, :]


class LayerNorm(hk.Module):
  """Layer normalisation with parameters, or with those of each member."""

  def __init__(self, members: int | None = None, name: str = ''):
    """Initialises the module.

    Args:
      members: the number of members N, None for a plain layer.
      name: the module's name.
    """
    super().__init__(name=name or None)
    self._lead = () if members is None else (members,)

  def __call__(self, inputs: jax.Array) -> jax.Array:
    """Maps [B, features] or [N, B, features] to the same shape."""
    shape = (*self._lead, inputs.shape[-1])
    scale = hk.get_parameter('scale', shape, inputs.dtype, jnp.ones)
    offset = hk.get_parameter('offset', shape, inputs.dtype, jnp.zeros)
    return layer_norm.layer_norm(inputs, scale, offset)


class MLP(hk.Module):
  """Hidden layers: a linear map, LayerNorm if wanted, and an activation."""

  def __init__(
    self,
    hidden_sizes: Sequence[int],
    members: int | None = None,
    activation: Activation = 'tanh',
    layer_norm: bool = True,
    name: str = 'mlp',
  ):
    """Initialises the module.

    Args:
      hidden_sizes: the width of each layer.
      members: the number of members N, None for a plain network.
      activation: the function behind each layer.
      layer_norm: whether each layer's outputs are normalised before it.
      name: the module's name.
    """
    super().__init__(name=name)
    self._hidden_sizes = tuple(hidden_sizes)
    self._members = members
    self._activation = ACTIVATIONS[activation]
    self._layer_norm = layer_norm

  def __call__(self, inputs: jax.Array) -> jax.Array:
    """Maps [B, inputs] to [B, hidden_sizes[-1]].

    With members the result is [N, B, hidden_sizes[-1]], and the inputs may be
    [N, B, inputs].
    """
    chex.assert_rank(inputs, 2 if self._members is None else {2, 3})
    hidden = inputs
    for i, size in enumerate(self._hidden_sizes):
      hidden = Linear(size, self._members, name=f'linear_{i}')(hidden)
      if self._layer_norm:
        hidden = LayerNorm(self._members, name=f'layer_norm_{i}')(hidden)
      hidden = self._activation(hidden)
    return hidden
