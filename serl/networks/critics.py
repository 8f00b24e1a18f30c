"""Critics: an ensemble of action-value functions as one batched computation."""

from collections.abc import Sequence

import chex
import haiku as hk
import jax
import jax.numpy as jnp

from serl import types
from serl.networks import feed_forward
from serl.networks import mlp

_SHARED = 'shared_value'  # the last layer, where all members have the same


def make_critic_ensemble(
  embedding_size: int,
  action_size: int,
  hidden_sizes: Sequence[int],
  members: int,
  shared_head: bool = False,
  activation: mlp.Activation = 'tanh',
  layer_norm: bool = True,
) -> feed_forward.FeedForward:
  """Makes an ensemble whose parameters carry a leading axis [members].

  `apply` reads the number of members from the parameters, so that it serves
  whole ensembles and what `take_members` cut out of them.

  Args:
    embedding_size: the width of the embedded observation.
    action_size: the number of actions.
    hidden_sizes: the widths of the hidden layers.
    members: the size of the ensemble, N.
    shared_head: whether all members share their last layer, the one whose
      parameters then have no leading axis.
    activation: the function behind each hidden layer.
    layer_norm: whether each hidden layer is normalised.

  Returns:
    A network: embedding [B, embedding_size], action [B, action_size] ->
    values [N, B].
  """

  def make(members: int) -> hk.Transformed:
    def forward(embedding: jax.Array, action: jax.Array) -> jax.Array:
      chex.assert_shape(embedding, (None, embedding_size))
      chex.assert_shape(action, (None, action_size))
      chex.assert_equal_shape_prefix([embedding, action], 1)
      chex.assert_type([embedding, action], float)
      inputs = jnp.concatenate([embedding, action], axis=-1)
      layers = mlp.MLP(hidden_sizes, members, activation, layer_norm)
      hidden = layers(inputs)
      if shared_head:
        return mlp.Linear(1, name=_SHARED)(hidden)[..., 0]
      return mlp.Linear(1, members, name='value')(hidden)[..., 0]

    return hk.without_apply_rng(hk.transform(forward))

  def init(key: types.PRNGKey) -> types.Params:
    embedding = jnp.zeros((1, embedding_size))
    return make(members).init(key, embedding, jnp.zeros((1, action_size)))

  def apply(
    params: types.Params, embedding: jax.Array, action: jax.Array
  ) -> jax.Array:
    present = jax.tree.leaves(params)[0].shape[0]
    return make(present).apply(params, embedding, action)

  return feed_forward.FeedForward(init, apply)


def take_members(params: types.Params, indices: jax.Array) -> types.Params:
  """Returns the parameters of the members `indices` [M] of an ensemble."""
  chex.assert_rank(indices, 1)
  chex.assert_type(indices, int)
  return {
    module: leaves
    if module == _SHARED
    else {name: leaf[indices] for name, leaf in leaves.items()}
    for module, leaves in params.items()
  }
