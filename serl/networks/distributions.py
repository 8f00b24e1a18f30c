"""The distribution of a stochastic policy's actions."""

import math
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp


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
    log_normal = (
      -0.5 * jnp.square(noise) - jnp.log(self.std) - 0.5 * math.log(2 * math.pi)
    )
    log_jacobian = 2 * (math.log(2) - pre_tanh - jax.nn.softplus(-2 * pre_tanh))
    return jnp.tanh(pre_tanh), jnp.sum(log_normal - log_jacobian, axis=-1)
