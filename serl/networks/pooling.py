"""From a map of features [B, H, W, C] to one vector [B, size]."""

import typing
from typing import Literal

import chex
import haiku as hk
import jax
import jax.numpy as jnp

Kind = Literal['average', 'max', 'spatial_softmax', 'spatial_embeddings']
KINDS = typing.get_args(Kind)


def average(features: jax.Array) -> jax.Array:
  """Returns each channel's mean over the map [B, H, W, C], as [B, C]."""
  chex.assert_rank(features, 4)
  return jnp.mean(features, axis=(1, 2))


def maximum(features: jax.Array) -> jax.Array:
  """Returns each channel's largest value of [B, H, W, C], as [B, C]."""
  chex.assert_rank(features, 4)
  return jnp.max(features, axis=(1, 2))


def spatial_softmax(features: jax.Array) -> jax.Array:
  """Returns where each channel is active: its softmax's mean position.

  Levine et al. 2016 (arXiv 1504.00702), section 5.2, "spatial softmax".

  Args:
    features: [B, H, W, C].

  Returns:
    [B, 2 C]: of every channel the column, then of every channel the row; both
    run from -1 at the first to 1 at the last.
  """
  chex.assert_rank(features, 4)
  batch, height, width, channels = features.shape
  flat = features.reshape(batch, height * width, channels)
  weights = jax.nn.softmax(flat, axis=1).reshape(features.shape)
  columns = jnp.einsum('bhwc,w->bc', weights, jnp.linspace(-1, 1, width))
  rows = jnp.einsum('bhwc,h->bc', weights, jnp.linspace(-1, 1, height))
  return jnp.concatenate([columns, rows], axis=-1)


class SpatialEmbeddings(hk.Module):
  """Sums over the map under learned weights, several for each channel.

  The pooling of SERL's image encoders (Luo et al. 2024, arXiv 2401.16013).
  """

  def __init__(self, embeddings: int, name: str = 'spatial_embeddings'):
    """Initialises the module.

    Args:
      embeddings: how many sums are taken of each channel, E.
      name: the module's name.
    """
    super().__init__(name=name)
    self._embeddings = embeddings

  def __call__(self, features: jax.Array) -> jax.Array:
    """Maps [B, H, W, C] to [B, C * E], the sums of a channel side by side."""
    chex.assert_rank(features, 4)
    shape = (*features.shape[1:], self._embeddings)
    init = hk.initializers.VarianceScaling()
    w = hk.get_parameter('w', shape, features.dtype, init)
    sums = jnp.einsum('bhwc,hwce->bce', features, w)
    return sums.reshape(features.shape[0], -1)


def pool(features: jax.Array, kind: Kind, embeddings: int) -> jax.Array:
  """Pools [B, H, W, C] to [B, size]; call it inside of `hk.transform`.

  Args:
    features: the map.
    kind: of the pooling.
    embeddings: of each channel, for 'spatial_embeddings'.
  """
  if kind == 'spatial_embeddings':
    return SpatialEmbeddings(embeddings)(features)
  return {
    'average': average,
    'max': maximum,
    'spatial_softmax': spatial_softmax,
  }[kind](features)
