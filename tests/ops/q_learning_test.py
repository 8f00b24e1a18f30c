"""Tests of q_learning."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from serl.ops import q_learning

R_T = jnp.array([1.0, 0.0, -0.5])
DISCOUNT_T = jnp.array([0.9, 0.5, 0.0])
VALUES_T = jnp.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
# It prefers the first, the second and the third choice.
SELECTOR_VALUES_T = jnp.array([[3.0, 2.0, 1.0], [0.0, 9.0, 1.0], [0, 1, 2.0]])


def test_one_critic_selects_and_the_other_values():
  target = jax.jit(q_learning.double_q_target)(
    R_T, DISCOUNT_T, VALUES_T, SELECTOR_VALUES_T
  )
  # 1 + 0.9 * 1, 0 + 0.5 * 5, and a termination.
  np.testing.assert_allclose(target, [1.9, 2.5, -0.5], rtol=1e-6)


def test_the_loss_of_what_was_chosen():
  choices, target = jnp.array([2, 0, 1]), jnp.array([1.0, 4.0, 9.0])
  loss = jax.jit(q_learning.chosen_loss)
  # The values are 3, 4 and 8.
  np.testing.assert_allclose(loss(VALUES_T, choices, target), 5 / 3, rtol=1e-6)
  weight = jnp.array([0.5, 1.0, 3.0])
  np.testing.assert_allclose(
    loss(VALUES_T, choices, target, weight), (2 + 3) / 3, rtol=1e-6
  )
  with pytest.raises(AssertionError):
    loss(VALUES_T, choices, target[:, None])
  with pytest.raises(AssertionError):
    loss(VALUES_T, choices, target, weight[:, None])


def test_the_target_has_no_gradient():
  gradients = jax.grad(
    lambda *values: q_learning.double_q_target(R_T, DISCOUNT_T, *values).sum(),
    argnums=(0, 1),
  )(VALUES_T, SELECTOR_VALUES_T)
  assert not any(np.any(gradient) for gradient in gradients)


def test_the_best_choice_has_to_be_the_best_by_the_margin():
  choices = jnp.array([2, 1, 0])
  loss = q_learning.margin_loss(VALUES_T, choices, 1.5)
  # 3 is 1 more than 2: half is lacking; 5 is 1 less than 6; 7 is 2 less than 9.
  np.testing.assert_allclose(loss, [0.5, 2.5, 3.5], rtol=1e-6)
  assert not q_learning.margin_loss(VALUES_T, choices, 0.5)[0]
