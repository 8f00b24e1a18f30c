"""The loss of the reward classifier."""

import chex
import jax
import jax.numpy as jnp
import optax

from serl import types
from serl.agents import checks
from serl.agents.classifier import networks as classifier_networks


def classifier_loss(
  params: classifier_networks.ClassifierParams,
  observation: types.NestedArray,
  label: jax.Array,
  key: types.PRNGKey,
  *,
  networks: classifier_networks.ClassifierNetworks,
) -> tuple[jax.Array, types.Metrics]:
  """Returns the mean cross-entropy.

  Args:
    params: what is trained.
    observation: [B, ...].
    label: [B] in [0, 1], 1 for a success.
    key: of the dropout.
    networks: the classifier's.

  Returns:
    the loss [] and metrics.
  """
  chex.assert_rank(label, 1)
  checks.check_vector(label, len(label))
  checks.check_rows(observation, len(label))
  logits = classifier_networks.classify(networks, params, observation, key)
  chex.assert_equal_shape([logits, label])
  loss = jnp.mean(optax.sigmoid_binary_cross_entropy(logits, label))
  return loss, {
    'classifier_loss': loss,
    'accuracy': jnp.mean((logits > 0) == (label > 0.5)),
  }
