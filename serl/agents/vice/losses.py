"""The loss of VICE's classifier and its reward. Noise is an argument."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from serl import types
from serl.agents import checks
from serl.agents.classifier import networks as classifier_networks

RewardKind = Literal['log_probability', 'probability']


class Noise(NamedTuple):
  """The random draws of one update of the classifier with N images."""

  partner: jax.Array  # [N] int32, the row that each is mixed with
  weight: jax.Array  # [N] in [0, 1], of the row itself
  between: jax.Array  # [N / 2] in [0, 1], where the gradient is penalised
  dropout: jax.Array  # a key


def draw_noise(key: types.PRNGKey, rows: int, mixup_alpha: float) -> Noise:
  """Draws the noise of one update.

  Args:
    key: a random key.
    rows: of images, N.
    mixup_alpha: of the Beta distribution of the weights; 0 mixes nothing.
  """
  partner_key, weight_key, between_key, dropout_key = jax.random.split(key, 4)
  weight = jnp.ones(rows)
  if mixup_alpha:
    weight = jax.random.beta(weight_key, mixup_alpha, mixup_alpha, (rows,))
  return Noise(
    jax.random.permutation(partner_key, rows),
    weight,
    jax.random.uniform(between_key, (rows // 2,)),
    dropout_key,
  )


def mix(rows: jax.Array, partner: jax.Array, weight: jax.Array) -> jax.Array:
  """Mixes every row with another; mixup (arXiv 1710.09412), section 2.

  Args:
    rows: [N, ...]; bytes are rounded to bytes.
    partner: [N] int32.
    weight: [N] of the row itself.
  """
  chex.assert_equal_shape_prefix([rows, partner, weight], 1)
  weight = weight.reshape(-1, *[1] * (rows.ndim - 1))
  mixed = weight * rows + (1 - weight) * rows[partner]
  if jnp.issubdtype(rows.dtype, jnp.integer):
    mixed = jnp.round(mixed)
  return mixed.astype(rows.dtype)


def classifier_loss(
  params: classifier_networks.ClassifierParams,
  goals: types.NestedArray,
  others: types.NestedArray,
  noise: Noise,
  *,
  networks: classifier_networks.ClassifierNetworks,
  label_smoothing: float = 0.0,
  penalty_weight: float = 0.0,
) -> tuple[jax.Array, types.Metrics]:
  """Returns the classifier's loss; VICE-RAQ (arXiv 1904.07854), section 4.

  Args:
    params: what is trained.
    goals: images [G, ...] by path, of the goal.
    others: images [G, ...] of what the agent has seen.
    noise: of 2 G images.
    networks: the classifier's.
    label_smoothing: the part of a label that both classes share.
    penalty_weight: of `gradient_penalty`.

  Returns:
    the loss [] and metrics.
  """
  chex.assert_rank(noise.between, 1)
  half = len(noise.between)
  checks.check_rows((goals, others), half)
  chex.assert_shape([noise.partner, noise.weight], (2 * half,))
  images = jax.tree.map(lambda *x: jnp.concatenate(x), goals, others)
  label = jnp.repeat(jnp.array([1.0, 0.0]), half)
  label += label_smoothing * (0.5 - label)
  label = mix(label, noise.partner, noise.weight)
  images = jax.tree.map(lambda x: mix(x, noise.partner, noise.weight), images)
  embedding = networks.encoder.apply(params.encoder, images)
  logits = networks.head.apply(params.head, embedding, noise.dropout)
  chex.assert_equal_shape([logits, label])
  loss = jnp.mean(optax.sigmoid_binary_cross_entropy(logits, label))
  penalty = 0.0
  if penalty_weight:
    penalty = gradient_penalty(
      lambda points: networks.head.apply(params.head, points, None),
      jax.lax.stop_gradient(embedding),
      noise.between,
    )
  return loss + penalty_weight * penalty, {
    'vice_loss': loss,
    'vice_gradient_penalty': penalty,
    'vice_accuracy': jnp.mean((logits > 0) == (label > 0.5)),
  }


def gradient_penalty(
  function: Callable[[jax.Array], jax.Array],
  points: jax.Array,
  between: jax.Array,
) -> jax.Array:
  """Returns the mean of (|gradient| - 1)^2; WGAN-GP (arXiv 1704.00028), eq. 3.

  Args:
    function: [N, F] -> [N], row by row.
    points: [2 N, F]; the gradient is taken between the halves.
    between: [N] weights of the first half.
  """
  chex.assert_rank([points, between], [2, 1])
  first, second = jnp.split(points, 2)
  weight = between[:, None]
  inner = weight * first + (1 - weight) * second
  gradient = jax.grad(lambda x: jnp.sum(function(x)))(inner)
  # The root's own gradient is not finite at 0.
  norm = jnp.sqrt(jnp.sum(jnp.square(gradient), axis=-1) + 1e-12)
  return jnp.mean(jnp.square(norm - 1))


def reward(
  params: classifier_networks.ClassifierParams,
  observation: types.NestedArray,
  *,
  networks: classifier_networks.ClassifierNetworks,
  kind: RewardKind = 'log_probability',
  lowest: float = -5.0,
) -> jax.Array:
  """Returns the rewards [B] for reaching `observation` [B, ...].

  Args:
    params: of the classifier.
    observation: [B, ...].
    networks: the classifier's.
    kind: the logarithm of the goal's probability, or that itself.
    lowest: the logarithm's lower bound.
  """
  logits = classifier_networks.classify(networks, params, observation)
  chex.assert_rank(logits, 1)
  if kind == 'probability':
    return jax.nn.sigmoid(logits)
  return jnp.maximum(jax.nn.log_sigmoid(logits), lowest)
