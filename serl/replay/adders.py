"""Collects an actor's steps to episodes and hands them on, whole."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dm_env
import numpy as np
import tree

from serl import conformance
from serl import core
from serl import specs
from serl import types

# What takes a finished episode: a log on disk, a replay, a list's append.
Sink = Callable[[types.Episode], Any]
# What the last step was beside dm_env's terms: a scalar or array by name.
StepExtras = Callable[[], Mapping[str, Any]]

# Steps to make room for before the first episode has told how long they are.
_FIRST_CAPACITY = 128


class EpisodeAdder:
  """A `core.Adder` that gives every finished episode to `sinks`, in order."""

  def __init__(
    self, sinks: Sequence[Sink], step_extras: Sequence[StepExtras] = ()
  ):
    """Initialises the adder.

    Args:
      sinks: called with each episode when its last step was added. The one that
        makes it durable comes first: what fails stops those behind it.
      step_extras: called after each step; what they return becomes the columns
        of the episode's extras.
    """
    self._sinks = tuple(sinks)
    self._step_extras = tuple(step_extras)
    self._capacity = _FIRST_CAPACITY
    self.reset()

  def reset(self) -> None:
    """Drops the unfinished episode."""
    self._observations = _Column('observation', self._capacity + 1)
    self._actions = _Column('action', self._capacity)
    self._extras = _Column('extras', self._capacity)
    self._rewards: list[Any] = []
    self._discounts: list[Any] = []

  def add_first(self, timestep: dm_env.TimeStep) -> None:
    """Begins an episode; an unfinished one before it is dropped."""
    if not timestep.first():
      raise ValueError(
        f'add_first() got a {timestep.step_type!r} timestep; it takes what '
        'environment.reset() returned'
      )
    self.reset()
    self._observations.append(timestep.observation)

  def add(
    self, action: types.NestedArray, next_timestep: dm_env.TimeStep
  ) -> None:
    """Adds a step; stores the episode if `next_timestep` is its last.

    Args:
      action: what was executed on the observation before.
      next_timestep: what it led to. Its arrays are copied: environments reuse
        their buffers.

    Raises:
      ValueError: before any `add_first`; when `next_timestep` is the first of
        an episode or tells no reward or discount; when an array has another
        shape or dtype than before; at the end of an episode that holds a NaN or
        an infinity, which is not stored.
    """
    if not self._observations.length:
      raise ValueError('add() came before add_first(): no episode has begun')
    if next_timestep.first():
      raise ValueError(
        'add() got the first timestep of an episode; that goes to add_first()'
      )
    # numpy would turn None into NaN without a word.
    if next_timestep.reward is None or next_timestep.discount is None:
      raise ValueError(
        f'step {self._actions.length} has reward {next_timestep.reward} and '
        f'discount {next_timestep.discount}; both must be numbers after reset()'
      )
    self._actions.append(action)
    self._rewards.append(next_timestep.reward)
    self._discounts.append(next_timestep.discount)
    self._observations.append(next_timestep.observation)
    self._extras.append(
      {name: x for tell in self._step_extras for name, x in tell().items()}
    )
    if next_timestep.last():
      episode = types.Episode(
        observation=self._observations.stacked(),
        action=self._actions.stacked(),
        reward=np.asarray(self._rewards, np.float32),
        discount=np.asarray(self._discounts, np.float32),
        extras=self._extras.stacked(),
      )
      self._capacity = max(self._capacity, episode.length)
      self.reset()
      _check_finite(episode)
      for sink in self._sinks:
        sink(episode)


def step_extras_of(environment: dm_env.Environment) -> tuple[StepExtras, ...]:
  """Returns the environment's own `step_extras`, where it has one."""
  if not isinstance(environment, core.HasStepExtras):
    return ()
  # Looked up each time: of tasks that alternate it is the present one's.
  return (lambda: environment.step_extras(),)


def check(episode: types.Episode, spec: specs.EnvironmentSpec) -> None:
  """Refuses an episode whose arrays are not what `spec` says.

  Args:
    episode: columns of T steps, see `types.Episode`.
    spec: the environment that it should have come from.

  Raises:
    ValueError: naming what `problems` does.
  """
  _refuse(problems(episode, spec))


def check_shapes(episode: types.Episode, spec: specs.EnvironmentSpec) -> None:
  """Refuses an episode with an array of another shape, dtype or path.

  Args, Raises: as `check`.
  """
  _refuse(_shape_problems(episode, spec))


def problems(episode: types.Episode, spec: specs.EnvironmentSpec) -> list[str]:
  """Returns a line for each array of an episode that is not what `spec` says.

  That is one of another shape, dtype or path, or with a value that nothing
  could learn from, see `conformance.value_problem`. Extras, which have no spec,
  have a row for each step.

  Args:
    episode: columns of T steps, see `types.Episode`.
    spec: the environment that it should have come from.
  """
  lines = _shape_problems(episode, spec)
  if lines:
    return lines
  leaves, columns = _leaves(spec), _columns(episode)
  found = (
    conformance.value_problem(p, columns[p], leaf) for p, leaf in leaves.items()
  )
  return list(filter(None, found))


def copy(nested: types.NestedArray) -> types.NestedArray:
  """Returns a copy in numpy, its mappings as plain dictionaries.

  JAX tells an OrderedDict from a dict; episodes have dicts, whoever made them.
  """
  if isinstance(nested, Mapping):
    return {key: copy(value) for key, value in nested.items()}
  return tree.map_structure(np.array, nested)


def _check_finite(episode: types.Episode) -> None:
  """Refuses an episode that would poison whatever learns from it."""
  for path, column in specs.flatten(episode._asdict()).items():
    if column.dtype.kind != 'f':
      continue
    finite = np.isfinite(column.reshape(len(column), -1)).all(axis=1)
    if not finite.all():
      step = int(np.argmin(finite))
      raise ValueError(
        f'{path} is {column[step]} at step {step} of the episode, expected '
        'finite numbers; the episode is not stored. Look at the sensor or the '
        'reward that gave it.'
      )


def _refuse(lines: Sequence[str]) -> None:
  if lines:
    raise ValueError(
      'this episode does not fit its environment spec; make the environment '
      'and the actor give what their specs say:\n  ' + '\n  '.join(lines)
    )


def _shape_problems(
  episode: types.Episode, spec: specs.EnvironmentSpec
) -> list[str]:
  length = episode.length
  rows = lambda path: length + path.startswith('observation')
  expected = {
    path: ((rows(path), *leaf.shape), np.dtype(leaf.dtype).name)
    for path, leaf in _leaves(spec).items()
  }
  given = {
    path: (column.shape, column.dtype.name)
    for path, column in _columns(episode).items()
  }
  lines = specs.differences(given, expected)
  if length == 0:
    lines.append('reward: no step, expected at least one')
  for path, array in specs.flatten(episode.extras, 'extras').items():
    if np.shape(array)[:1] != (length,):
      lines.append(f'{path}: shape {np.shape(array)}, expected [{length}, ...]')
  return lines


def _leaves(spec: specs.EnvironmentSpec) -> dict[str, specs.Array]:
  """Returns the specs of a step's parts by the paths of their columns."""
  return {
    **specs.flatten(spec.observations, 'observation'),
    **specs.flatten(spec.actions, 'action'),
    'reward': specs.Array((), np.float32),
    'discount': specs.BoundedArray((), np.float32, 0.0, 1.0),
  }


def _columns(episode: types.Episode) -> dict[str, np.ndarray]:
  """Returns the columns of an episode but its extras by their paths."""
  flat = specs.flatten(episode._replace(extras={})._asdict())
  return {path: np.asarray(column) for path, column in flat.items()}


class _Column:
  """Rows of a tree of arrays, each copied once: images are large."""

  def __init__(self, name: str, capacity: int):
    self._name = name
    self._capacity = capacity
    self._first: types.NestedArray = None
    self._buffers: dict[str, np.ndarray] = {}  # [capacity, ...], by paths
    self.length = 0

  def append(self, row: types.NestedArray) -> None:
    leaves = {
      path: np.asarray(leaf)
      for path, leaf in specs.flatten(row, self._name).items()
    }
    if not self.length:
      self._first = copy(row)
      self._buffers = {
        path: np.empty((self._capacity, *leaf.shape), leaf.dtype)
        for path, leaf in leaves.items()
      }
    self._check(leaves)
    if self.length == self._capacity:
      self._grow()
    for path, leaf in leaves.items():
      self._buffers[path][self.length] = leaf
    self.length += 1

  def stacked(self) -> types.NestedArray:
    """Returns the tree with arrays [length, ...]; the column is given up."""
    rows = [buffer[: self.length] for buffer in self._buffers.values()]
    return tree.unflatten_as(self._first, rows)

  def _check(self, leaves: Mapping[str, np.ndarray]) -> None:
    """Refuses what an assignment would broadcast or cast without a word."""
    given = {p: (x.dtype, x.shape) for p, x in leaves.items()}
    expected = {p: (x.dtype, x.shape[1:]) for p, x in self._buffers.items()}
    if given != expected:
      lines = specs.differences(_named(given), _named(expected))
      raise ValueError(
        f'step {self.length} of the episode is not like those before it:\n  '
        + '\n  '.join(lines)
      )

  def _grow(self) -> None:
    self._capacity *= 2
    for path, buffer in self._buffers.items():
      larger = np.empty((self._capacity, *buffer.shape[1:]), buffer.dtype)
      larger[: self.length] = buffer
      self._buffers[path] = larger


def _named(kinds: Mapping[str, tuple]) -> dict[str, str]:
  return {path: f'{dtype} {shape}' for path, (dtype, shape) in kinds.items()}
