"""The distributions of a stochastic policy's actions."""

import math
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

# tanh reaches 1 only at infinity: an action is taken for one this far inside.
_MARGIN = 1e-3


class Normal(NamedTuple):
  """A diagonal normal distribution."""

  mean: jax.Array  # [..., action_size]
  std: jax.Array  # [..., action_size]

  def mode(self) -> jax.Array:
    """Returns the mean, [..., action_size]."""
    return self.mean

  def sample(self, noise: jax.Array) -> jax.Array:
    """Returns the action that standard normal `noise` leads to."""
    chex.assert_equal_shape([self.mean, self.std, noise])
    return self.mean + self.std * noise

  def log_prob(self, action: jax.Array) -> jax.Array:
    """Returns the log-densities [...] of actions [..., action_size]."""
    chex.assert_equal_shape([self.mean, self.std, action])
    noise = (action - self.mean) / self.std
    return jnp.sum(_log_normal(noise, self.std), axis=-1)


class TanhNormal(NamedTuple):
  """A diagonal normal distribution squashed into [-1, 1] by tanh.

  Haarnoja et al. (2018, arXiv 1812.05905), appendix C.
  """

  mean: jax.Array  # [..., action_size], before tanh
  std: jax.Array  # [..., action_size], before tanh

  def mode(self) -> jax.Array:
    """Returns tanh of the mean, the action to evaluate. [..., action_size]."""
    return jnp.tanh(self.mean)

  def sample(self, noise: jax.Array) -> jax.Array:
    """Returns the action that standard normal `noise` leads to."""
    chex.assert_equal_shape([self.mean, self.std, noise])
    return jnp.tanh(self.mean + self.std * noise)

  def sample_and_log_prob(
    self, noise: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """Returns the action that `noise` leads to and its log-density.

    The Jacobian of tanh is taken as 2 (log 2 - u - softplus(-2 u)), which is
    log(1 - tanh(u)^2) without its cancellation where tanh saturates.

    Args:
      noise: a standard normal sample, [..., action_size].

    Returns:
      actions [..., action_size] in [-1, 1] and log-densities [...].
    """
    chex.assert_equal_shape([self.mean, self.std, noise])
    pre_tanh = self.mean + self.std * noise
    log_density = _log_normal(noise, self.std) - _log_jacobian(pre_tanh)
    return jnp.tanh(pre_tanh), jnp.sum(log_density, axis=-1)

  def log_prob(self, action: jax.Array) -> jax.Array:
    """Returns the log-densities [...] of actions [..., action_size].

    An action at a bound counts as one a little inside: its own density is 0.
    """
    chex.assert_equal_shape([self.mean, self.std, action])
    pre_tanh = jnp.arctanh(jnp.clip(action, _MARGIN - 1, 1 - _MARGIN))
    noise = (pre_tanh - self.mean) / self.std
    log_density = _log_normal(noise, self.std) - _log_jacobian(pre_tanh)
    return jnp.sum(log_density, axis=-1)


def _log_normal(noise: jax.Array, std: jax.Array) -> jax.Array:
  """Returns the log-density of mean + std * noise."""
  return -0.5 * jnp.square(noise) - jnp.log(std) - 0.5 * math.log(2 * math.pi)


def _log_jacobian(pre_tanh: jax.Array) -> jax.Array:
  """Returns the logarithm of the derivative of tanh."""
  return 2 * (math.log(2) - pre_tanh - jax.nn.softplus(-2 * pre_tanh))
