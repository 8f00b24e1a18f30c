"""The formulas of maximum-entropy actor-critic learning, as pure functions.

SAC: Haarnoja et al. 2018, arXiv 1812.05905. REDQ: Chen et al. 2021,
arXiv 2101.05982. RLPD: Ball et al. 2023, arXiv 2302.02948.
"""

import chex
import jax
import jax.numpy as jnp

from serl.ops import lazy_rlax as rlax


def soft_target(
  r_t: jax.Array,
  discount_t: jax.Array,
  values_t: jax.Array,
  entropy_bonus_t: jax.Array | float = 0.0,
) -> jax.Array:
  """Returns the least of the members' bootstrapped returns.

  REDQ (arXiv 2101.05982), eq. 1; SAC (arXiv 1812.05905), eqs. 2 and 3. Without
  the bonus this is RLPD's target (arXiv 2302.02948, section 4.3: entropy left
  out of the backup).

  Args:
    r_t: rewards at time t, [B].
    discount_t: discounts at time t, [B]: 0 where the task terminated, the
      agent's own discount included.
    values_t: the drawn target critics' values at time t, [M, B].
    entropy_bonus_t: -temperature * log-probability of the action at time t,
      [B]; 0 leaves the entropy out of the backup.

  Returns:
    The targets for the values at time t - 1, [B], without a gradient.
  """
  chex.assert_rank([r_t, discount_t, values_t], [1, 1, 2])
  chex.assert_equal_shape([r_t, discount_t, values_t[0]])
  chex.assert_type([r_t, discount_t, values_t], float)
  value_t = jnp.min(values_t, axis=0) + entropy_bonus_t
  # The error of a value of 0 is the target.
  errors = jax.vmap(rlax.td_learning)
  return errors(jnp.zeros_like(value_t), r_t, discount_t, value_t)


def ensemble_loss(
  values_tm1: jax.Array,
  target_tm1: jax.Array,
  weight: jax.Array | float = 1.0,
) -> jax.Array:
  """Returns the mean squared error of all members to one shared target.

  REDQ (arXiv 2101.05982), algorithm 1, line 9; SAC (arXiv 1812.05905), eq. 5.

  Args:
    values_tm1: the members' values at time t - 1, [N, B].
    target_tm1: the target they share, [B].
    weight: of each row's error, [B]; such as the importance weights of
      prioritised replay (arXiv 1511.05952), section 3.4.
  """
  chex.assert_rank([values_tm1, target_tm1], [2, 1])
  chex.assert_equal_shape([values_tm1[0], target_tm1])
  chex.assert_is_broadcastable(jnp.shape(weight), target_tm1.shape)
  return 2 * jnp.mean(weight * rlax.l2_loss(values_tm1, target_tm1))


def policy_loss(
  values: jax.Array, log_prob: jax.Array, temperature: jax.Array | float
) -> jax.Array:
  """Returns temperature * log-probability - value, averaged.

  SAC (arXiv 1812.05905), eq. 9.

  Args:
    values: of actions drawn from the policy, reduced over the ensemble, [B].
    log_prob: of these actions, [B].
    temperature: the weight of the entropy, [].
  """
  chex.assert_rank([values, log_prob, temperature], [1, 1, 0])
  chex.assert_equal_shape([values, log_prob])
  return jnp.mean(temperature * log_prob - values)


def temperature_loss(
  temperature: jax.Array, entropy: jax.Array, target_entropy: float
) -> jax.Array:
  """Returns temperature * (entropy - target): descent raises a low entropy.

  SAC (arXiv 1812.05905), eq. 18.

  Args:
    temperature: the weight of the entropy, [].
    entropy: the policy's mean entropy, [].
    target_entropy: what it should at least be.
  """
  chex.assert_rank([temperature, entropy], 0)
  return temperature * (jax.lax.stop_gradient(entropy) - target_entropy)


def inverse_softplus(value: float) -> jax.Array:
  """Returns x with softplus(x) = `value`, for a value above 0."""
  value = jnp.asarray(value, jnp.float32)
  return value + jnp.log(-jnp.expm1(-value))
