"""Policies: what maps an embedding to a distribution over actions."""

from collections.abc import Sequence

import chex
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from serl import specs
from serl import types
from serl.networks import distributions
from serl.networks import feed_forward
from serl.networks import mlp


def action_size(spec: types.NestedSpec) -> int:
  """Returns how many numbers an action has.

  Raises:
    ValueError: actions are anything but one vector of floats in [-1, 1].
  """
  if (
    not isinstance(spec, specs.BoundedArray)
    or len(spec.shape) != 1
    or not np.issubdtype(spec.dtype, np.floating)
    or np.any(spec.minimum != -1)
    or np.any(spec.maximum != 1)
  ):
    raise ValueError(
      'A policy acts with one float vector in [-1, 1], the action spec is '
      f'{spec}. Give the environment that range with the wrapper '
      'NormalizeAction.'
    )
  return spec.shape[0]


def make_tanh_normal_policy(
  embedding_size: int,
  action_size: int,
  hidden_sizes: Sequence[int],
  min_std: float = 1e-5,
  max_std: float = 5.0,
  activation: mlp.Activation = 'tanh',
  layer_norm: bool = True,
) -> feed_forward.FeedForward:
  """Makes a policy whose std is exp of a network's output, clipped.

  Args:
    embedding_size: the width of the policy's input.
    action_size: the number of actions.
    hidden_sizes: the widths of the hidden layers.
    min_std: the least standard deviation before tanh.
    max_std: the largest; equal to `min_std` for a policy of fixed noise.
    activation: the function behind each hidden layer.
    layer_norm: whether each hidden layer is normalised.

  Returns:
    A network: embedding [B, embedding_size] -> TanhNormal over
    [B, action_size].
  """

  def forward(embedding: jax.Array) -> distributions.TanhNormal:
    chex.assert_shape(embedding, (None, embedding_size))
    chex.assert_type(embedding, float)
    layers = mlp.MLP(hidden_sizes, activation=activation, layer_norm=layer_norm)
    hidden = layers(embedding)
    mean = mlp.Linear(action_size, name='mean')(hidden)
    log_std = mlp.Linear(action_size, name='log_std')(hidden)
    std = jnp.clip(jnp.exp(log_std), min_std, max_std)
    return distributions.TanhNormal(mean, std)

  network = hk.without_apply_rng(hk.transform(forward))
  example = jnp.zeros((1, embedding_size))
  return feed_forward.FeedForward(
    init=lambda key: network.init(key, example), apply=network.apply
  )
