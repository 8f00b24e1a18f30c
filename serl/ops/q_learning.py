"""The formulas of Q-learning, as pure functions."""

import chex
import jax
import jax.numpy as jnp

from serl.ops import lazy_rlax as rlax


def double_q_target(
  r_t: jax.Array,
  discount_t: jax.Array,
  values_t: jax.Array,
  selector_values_t: jax.Array,
) -> jax.Array:
  """Returns the bootstrapped return of the choice that the selector prefers.

  Double DQN, van Hasselt et al. 2016 (arXiv 1509.06461), eq. 4.

  Args:
    r_t: rewards at time t, [B].
    discount_t: discounts at time t, [B]: 0 where the task terminated, the
      agent's own discount included.
    values_t: the target critic's values of all choices at time t, [B, C].
    selector_values_t: those of the critic that is trained, [B, C].

  Returns:
    The targets for the values at time t - 1, [B], without a gradient.
  """
  chex.assert_rank([r_t, discount_t, values_t, selector_values_t], [1, 1, 2, 2])
  chex.assert_equal_shape([values_t, selector_values_t])
  chex.assert_equal_shape([r_t, discount_t, values_t[:, 0]])
  chex.assert_type([r_t, discount_t, values_t], float)
  # The error of values of 0, whichever was chosen, is the target.
  errors = jax.vmap(rlax.double_q_learning)
  return errors(
    jnp.zeros_like(values_t),
    jnp.zeros(r_t.shape, jnp.int32),
    r_t,
    discount_t,
    values_t,
    selector_values_t,
  )


def chosen_loss(
  values_tm1: jax.Array,
  choices_tm1: jax.Array,
  target_tm1: jax.Array,
  weight: jax.Array | float = 1.0,
) -> jax.Array:
  """Returns the mean squared error of what was chosen.

  Args:
    values_tm1: of all choices at time t - 1, [B, C].
    choices_tm1: those that were made, [B].
    target_tm1: of their values, [B].
    weight: of each row's error, [B].
  """
  chex.assert_rank([values_tm1, choices_tm1, target_tm1], [2, 1, 1])
  chex.assert_equal_shape([choices_tm1, target_tm1])
  chex.assert_is_broadcastable(jnp.shape(weight), target_tm1.shape)
  chosen = rlax.batched_index(values_tm1, choices_tm1)
  return 2 * jnp.mean(weight * rlax.l2_loss(chosen, target_tm1))


def margin_loss(
  values: jax.Array, choices: jax.Array, margin: float
) -> jax.Array:
  """Returns how far choices are from being the best ones by a margin, [B].

  DQfD, Hester et al. 2018 (arXiv 1704.03732), the large margin loss J_E.

  Args:
    values: of all choices, [B, C].
    choices: that were demonstrated, [B].
    margin: by which they have to be worth more.
  """
  chex.assert_rank([values, choices], [2, 1])
  others = margin * (1 - jax.nn.one_hot(choices, values.shape[-1]))
  best = jnp.max(values + others, axis=-1)
  return best - rlax.batched_index(values, choices)
