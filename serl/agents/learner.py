"""The one learner: steps any algorithm through the batches of an iterator."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from serl import types
from serl.agents import builder

# (key [updates, batch_size, 2], TD error [updates, batch_size]) -> None
WriteBack = Callable[[np.ndarray, np.ndarray], None]


class NonFiniteError(FloatingPointError):
  """A round gave metrics that are NaN or infinite."""

  def __init__(self, learner_step: int, metrics: Mapping[str, float]):
    """Initialises the error.

    Args:
      learner_step: the round, counted from 1.
      metrics: the offending ones by name.
    """
    self.learner_step = learner_step
    self.metrics = dict(metrics)
    values = ', '.join(
      f'{name} = {value}' if np.ndim(value) == 0 else f'{name} not finite'
      for name, value in metrics.items()
    )
    super().__init__(
      f'Learner step {learner_step} gave {values}, expected finite numbers. '
      'Go on from the last checkpoint; look at the rewards and observations '
      'first, then try a lower learning rate.'
    )


class SavedLearner(NamedTuple):
  """A learner as numpy arrays, to be stored."""

  state: Any  # the algorithm's TrainingState
  learner_steps: np.ndarray  # [] int64


class Learner:
  """Holds a training state and moves it on, a round a step."""

  def __init__(
    self,
    algorithm: builder.Algorithm,
    key: types.PRNGKey,
    iterator: Iterator[types.Batch],
    write_back: WriteBack | None = None,
  ):
    """Initialises the learner.

    Args:
      algorithm: the learning rule.
      key: a random key, the learner's own.
      iterator: gives batches [updates_per_round, batch_size, ...].
      write_back: takes the TD errors of each round while the next one is
        computed, where a table is prioritised; None where none is.
    """
    self._iterator = iterator
    self._write_back = write_back
    self._not_written: tuple[Any, Any] | None = None
    # The old state's memory becomes the new one's: see `state`.
    self._update = jax.jit(algorithm.update, donate_argnums=0)
    self._state = jax.jit(algorithm.init)(key)
    self._learner_steps = 0
    self._unchecked: types.Metrics | None = None

  @property
  def state(self) -> Any:
    """The training state. The next `step` consumes it: copy what is kept."""
    return self._state

  @property
  def learner_steps(self) -> int:
    """The number of rounds done."""
    return self._learner_steps

  def step(self) -> types.Metrics:
    """Does a round and returns its metrics without waiting for them.

    Returns:
      The metrics, arrays on the device.

    Raises:
      NonFiniteError: if the round before this one went wrong.
      ValueError: a table is prioritised and the algorithm gives no TD errors.
    """
    batch = next(self._iterator)
    self._state, metrics = self._update(self._state, batch)
    # The device is at work on this round while the last one's are read.
    self.check()
    self._write_priorities()
    self._unchecked = metrics
    self._learner_steps += 1
    metrics = dict(metrics)
    td_error = metrics.pop(builder.TD_ERROR, None)
    if self._write_back is not None:
      if td_error is None:
        raise ValueError(
          'A table has the sampler Prioritised(), but the agent returns no '
          f'metric {builder.TD_ERROR!r}, expected one number for each row: '
          'draw uniformly, or see agents.builder.Algorithm.'
        )
      self._not_written = batch.key, td_error
    return metrics

  def _write_priorities(self) -> None:
    if self._not_written is not None:
      key, td_error = jax.device_get(self._not_written)
      self._not_written = None
      self._write_back(key, td_error)

  def compile(self, batch: types.Batch) -> None:
    """Compiles the update ahead of the first batch.

    Args:
      batch: of the shapes and dtypes to come, its values do not matter.
    """
    self._update = self._update.lower(self._state, batch).compile()

  def check(self) -> None:
    """Waits for the last round and checks it.

    Raises:
      NonFiniteError: if its metrics are not finite. It is raised again at
        every later check: such a state is neither trained nor saved.
    """
    _check_finite(self._unchecked, self._learner_steps)

  def save(self) -> SavedLearner:
    """Returns a copy of all there is to restore.

    Raises:
      NonFiniteError: if the last round went wrong: it is not to be kept.
    """
    self.check()
    state = jax.tree.map(lambda x: np.array(x, copy=True), self._state)
    # A loss is of the parameters before the round: those after it may be worse.
    check_finite(state, self._learner_steps)
    return SavedLearner(
      state=state,
      learner_steps=np.asarray(self._learner_steps, np.int64),
    )

  def restore(self, saved: SavedLearner) -> None:
    """Goes on from what `save` returned.

    Raises:
      ValueError: if it is of another algorithm or other networks.
    """
    _check_same_arrays(saved.state, self._state)
    structure = jax.tree.structure(self._state)
    leaves = [jnp.array(leaf) for leaf in jax.tree.leaves(saved.state)]
    self._state = jax.tree.unflatten(structure, leaves)
    self._learner_steps = int(saved.learner_steps)
    self._unchecked = None
    self._not_written = None


def _check_finite(metrics: types.Metrics | None, learner_step: int) -> None:
  if metrics is None:
    return
  values = jax.device_get(dict(metrics))
  offending = {
    name: value
    for name, value in values.items()
    if not np.all(np.isfinite(value))
  }
  if offending:
    raise NonFiniteError(learner_step, offending)


def check_finite(tree: types.NestedArray, learner_step: int) -> None:
  """Refuses parameters that are not to be kept, nor given to a robot.

  Raises:
    NonFiniteError: with the paths of the leaves that hold NaN or infinity.
  """
  _check_finite(_by_path(tree), learner_step)


def _check_same_arrays(given: Any, expected: Any) -> None:
  """Raises if two trees differ in a path, a shape or a dtype."""

  def describe(tree):
    return {
      path: (tuple(leaf.shape), np.dtype(leaf.dtype).name)
      for path, leaf in _by_path(tree).items()
    }

  given_arrays, expected_arrays = describe(given), describe(expected)
  for path in sorted(given_arrays.keys() | expected_arrays.keys()):
    found, wanted = given_arrays.get(path), expected_arrays.get(path)
    if found != wanted:
      raise ValueError(
        f'The saved state{path} is {found or "missing"}, expected '
        f'{wanted or "nothing"}: it was saved by another configuration.'
      )


def _by_path(tree: Any) -> dict[str, Any]:
  """Returns the leaves of a tree by their paths."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
