"""Assertions on the arguments of losses, made while they are traced."""

import chex
import jax

from serl import types


def check_batch(batch: types.Transition, action_size: int) -> None:
  """Checks the arrays of a minibatch of B transitions.

  Args:
    batch: observations [B, ...], actions [B, action_size], rewards and
      discounts [B].
    action_size: of the agent's actions.

  Raises:
    AssertionError: an array has another shape, or is not of floats.
  """
  chex.assert_rank(batch.action, 2)
  rows = batch.action.shape[0]
  chex.assert_shape(batch.action, (rows, action_size))
  chex.assert_shape([batch.reward, batch.discount], (rows,))
  chex.assert_type([batch.action, batch.reward, batch.discount], float)
  check_rows((batch.observation, batch.next_observation), rows)


def check_rows(nested: types.NestedArray, rows: int) -> None:
  """Checks that every array [B, ...] of a tree has B `rows`.

  Raises:
    AssertionError: one has not.
  """
  for leaf in jax.tree.leaves(nested):
    chex.assert_axis_dimension(leaf, 0, rows)


def check_vector(array: jax.Array, rows: int, dtype: type = float) -> None:
  """Checks an array of one number a row, [B].

  Raises:
    AssertionError: it has another shape or is of other numbers.
  """
  chex.assert_shape(array, (rows,))
  chex.assert_type(array, dtype)
