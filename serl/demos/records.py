"""Episodes of any origin, and how they are brought into a spec or refused."""

from collections.abc import Iterable, Iterator, Mapping
import math
from typing import Any, NamedTuple

import numpy as np

from serl import conformance
from serl import specs
from serl import types
from serl.demos import files
from serl.demos import grippers

# The name under which SERL keeps all that is no image, in one vector.
STATE = 'state'
_IMAGES = 'images'
# The column of extras of steps picked out one by one, which may stand alone.
SNAPSHOT = 'snapshot'
# Likewise, of steps in which a person overruled a policy.
INTERVENED = 'intervened'
# In the metadata of an episode: whether HIL-SERL wrote its file.
HIL = 'hil'
# Actions beyond their bounds by no more than rounding are in them.
_ROUNDING = 2e-6
# Those from twice the range on were no actions within it.
_CLIPPED_TO = 2.0


class Record(NamedTuple):
  """One episode of a data set."""

  name: str  # where it came from, for messages
  episode: types.Episode
  metadata: Mapping[str, Any] = {}  # JSON data, as `files` keeps it


def rated(
  found: Iterable[Record], steps_per_second: float | None = None
) -> Iterator[Record]:
  """Yields the records, whose rates are all one.

  Args:
    found: the records; read one at a time.
    steps_per_second: the rate of those without one, Hz; None leaves them so.

  Raises:
    FileError: a rate is none, or differs from `steps_per_second` or from that
      of a record before.
  """
  files.check_rate(steps_per_second)
  expected, by = steps_per_second, 'the rate that was given'
  for record in found:
    rate = record.metadata.get(files.RATE, steps_per_second)
    try:
      files.check_rate(rate)
    except ValueError as error:
      raise files.FileError(f'{record.name}: {error}') from error
    if rate is None:
      yield record
      continue
    if expected is None:
      expected, by = rate, f'that of {record.name}'
    if not math.isclose(rate, expected, rel_tol=1e-6):
      raise files.FileError(
        f'{record.name}: recorded at {rate:g} steps per second, expected '
        f'{expected:g}, {by}; convert data of different rates apart'
      )
    yield record._replace(metadata={**record.metadata, files.RATE: rate})


def infer_spec(record: Record) -> specs.EnvironmentSpec:
  """Returns a spec that such episodes fit, where nobody has told theirs.

  Observations have the shapes and dtypes that are there, and no bounds but the
  images' 0 to 255. Actions are in [-1, 1], as SERL's all are.

  Raises:
    FileError: an image is not of bytes or has its channels first, or actions
      are no vectors.
  """
  observations = _map(_observation_spec, record.episode.observation)
  for path, leaf in specs.flatten(observations).items():
    if specs.is_image(leaf) and specs.has_channels_first(leaf):
      raise files.FileError(
        f'{record.name}, {path}: {_show(leaf)}, expected an image [H, W, C]: '
        'its channels come first, transpose it'
      )
  try:
    specs.check_images(observations)
  except ValueError as error:
    raise files.FileError(
      f'{record.name}: {error} Or leave it out: --drop=NAME of python -m '
      'serl.tools.convert_data.'
    ) from error
  action = np.asarray(record.episode.action)
  if action.ndim != 2:
    raise files.FileError(
      f'{record.name}: actions of shape {action.shape}, expected [T, size]'
    )
  return make_spec(
    observations,
    specs.BoundedArray(action.shape[1:], np.float32, -1.0, 1.0, 'action'),
  )


def make_spec(
  observations: types.NestedSpec, actions: types.NestedSpec
) -> specs.EnvironmentSpec:
  """Returns an environment's spec from the two that a file tells."""
  return specs.EnvironmentSpec(
    observations=observations,
    actions=actions,
    rewards=specs.Array((), np.float32, 'reward'),
    discounts=specs.BoundedArray((), np.float32, 0.0, 1.0, 'discount'),
  )


def without_actions(
  record: Record, spec: specs.EnvironmentSpec | None
) -> Record:
  """Returns a record for a classifier, which sees no actions: they are 0.

  Args:
    record: the episode.
    spec: that it shall fit; None for any.
  """
  episode = record.episode
  shape = np.shape(episode.action)[1:] if spec is None else None
  leaf = specs.Array(shape if shape else (1,), np.float32)
  zeros = lambda leaf: np.zeros((episode.length, *leaf.shape), leaf.dtype)
  action = _map_specs(zeros, leaf if spec is None else spec.actions)
  return record._replace(episode=episode._replace(action=action))


def fit(
  record: Record,
  spec: specs.EnvironmentSpec,
  clip: bool = False,
  units: grippers.Units | None = None,
) -> Record:
  """Returns an episode that came from elsewhere as one of `spec`.

  A vector 'state' that the spec does not have is cut into the spec's numbers
  in the sorted order of their names, which is how SERL flattened them; what is
  named within 'state' and 'images' is taken out of them. Numbers
  get the spec's precision. Observed numbers outside of the spec's bounds
  saturate, as those of our environments do; metadata['saturated'] counts them.

  Args:
    record: the episode.
    spec: of the environment that it is for.
    clip: whether actions up to twice the range of the bounds are clipped to
      them, as the environments that such data are from did when they executed
      them; metadata['clipped'] tells of how many steps, and the largest.
    units: of the gripper's readings, for data in another unit than the spec's;
      metadata['gripper'] tells of what was converted.

  Raises:
    FileError: something is missing or too much, an image is of another size or
      dtype, an action is outside of its bounds, a number is not finite.
  """
  episode = record.episode
  observation = _split_state(record.name, episode.observation, spec)
  columns = {
    **specs.flatten(observation, 'observation'),
    **specs.flatten(episode.action, 'action'),
    'reward': episode.reward,
    'discount': episode.discount,
  }
  expected = {
    **specs.flatten(spec.observations, 'observation'),
    **specs.flatten(spec.actions, 'action'),
    'reward': specs.Array((), np.float32),
    'discount': specs.BoundedArray((), np.float32, 0.0, 1.0),
  }
  problems = [
    f'{path}: missing, expected {_show(expected[path])}'
    for path in sorted(set(expected) - set(columns))
  ]
  problems += [
    f'{path}: not expected' for path in sorted(set(columns) - set(expected))
  ]
  fitted: dict[str, np.ndarray] = {}
  saturated: dict[str, int] = {}
  metadata = dict(record.metadata)
  for path in sorted(set(columns) & set(expected)):
    column, leaf = np.asarray(columns[path]), expected[path]
    if clip and path.partition('/')[0] == 'action':
      column, clipped = _clip(column, leaf)
      if clipped:
        metadata['clipped'] = {**metadata.get('clipped', {}), path: clipped}
    problem = _problem(path, column, leaf)
    if problem:
      problems.append(problem)
      continue
    if units is not None and path.rpartition('/')[2] == grippers.NAME:
      is_hil = bool(metadata.get(HIL))
      column, converted = units.convert(record.name, column, leaf, is_hil)
      if converted:
        metadata['gripper'] = 'from 0 to 1'
    fitted[path] = column.astype(leaf.dtype, copy=False)
    if path.startswith('observation') and column.dtype.kind == 'f':
      fitted[path], count = _saturate(fitted[path], leaf)
      if count:
        saturated[path] = count
  if problems:
    raise files.FileError(
      f'{record.name} does not fit its spec; convert the data, or name the '
      'task that they were recorded in:\n  ' + '\n  '.join(problems)
    )
  if saturated:
    metadata['saturated'] = saturated
  columns = specs.unflatten(fitted)
  return Record(
    record.name, types.Episode(**columns, extras=episode.extras), metadata
  )


def _split_state(
  name: str, observation: types.NestedArray, spec: specs.EnvironmentSpec
) -> types.NestedArray:
  """Returns the observation with its state cut into the parts of `spec`."""
  if not isinstance(observation, Mapping) or STATE not in observation:
    return observation
  if not isinstance(spec.observations, Mapping) or STATE in spec.observations:
    return observation
  if isinstance(observation[STATE], Mapping):
    # As SERL's environments observe before its wrappers put it in a row.
    groups = (observation.get(_IMAGES, {}), observation[STATE])
    rest = {k: v for k, v in observation.items() if k not in (STATE, _IMAGES)}
    return {**rest, **groups[0], **groups[1]}
  numbers = {
    path: leaf
    for path, leaf in specs.flatten(spec.observations).items()
    if not specs.is_image(leaf)
  }
  # A stack of frames leads the shape; what is cut is the last axis.
  sizes = [leaf.shape[-1] if leaf.shape else 1 for leaf in numbers.values()]
  state = np.asarray(observation[STATE])
  if state.shape[-1] != sum(sizes):
    raise files.FileError(
      f'{name}: {STATE} has {state.shape[-1]} numbers, but the spec has '
      f'{sum(sizes)}: {dict(zip(numbers, sizes))}; name the task that the file '
      f'was recorded in{_two_arms(state.shape[-1:], (sum(sizes),))}'
    )
  parts = np.split(state, np.cumsum(sizes)[:-1], axis=-1)
  images = {k: v for k, v in observation.items() if k != STATE}
  return {**images, **specs.unflatten(dict(zip(numbers, parts)))}


def _problem(path: str, column: np.ndarray, leaf: specs.Array) -> str | None:
  """Returns what keeps a column out of `leaf`, None if nothing does."""
  if specs.is_image(leaf):
    if column.dtype == leaf.dtype and column.shape[1:] == leaf.shape:
      return None
    return (
      f'{path}: {_show(column[0])}, expected {_show(leaf)}; make the '
      'environment of that size, or the images of its size and bytes of floats'
    )
  castable = np.can_cast(column.dtype, leaf.dtype, 'same_kind')
  if column.shape[1:] != leaf.shape or not castable:
    return (
      f'{path}: {_show(column[0])}, expected {_show(leaf)}'
      f'{_two_arms(column.shape[1:], leaf.shape)}'
    )
  if not path.startswith('observation') and hasattr(leaf, 'minimum'):
    outside = (column < leaf.minimum) | (column > leaf.maximum)
    outside &= np.isfinite(column)
    if outside.any():
      step = int(np.argmax(outside.reshape(len(column), -1).any(1)))
      return (
        f'{path}: {column[step]} at step {step}, expected within '
        f'[{leaf.minimum}, {leaf.maximum}]; scale the values to that range'
      )
  unbounded = specs.Array((), leaf.dtype)
  return conformance.value_problem(path, column, unbounded) or None


def _clip(
  column: np.ndarray, leaf: specs.Array
) -> tuple[np.ndarray, dict[str, float] | None]:
  """Returns actions within their bounds, and what of them was clipped.

  What is beyond twice the range stays as it is, for `_problem`.
  """
  if (
    not hasattr(leaf, 'minimum')
    or column.dtype.kind != 'f'
    or column.shape[1:] != leaf.shape
    or not np.isfinite(leaf.minimum).all()
    or not np.isfinite(leaf.maximum).all()
  ):
    return column, None
  middle = (np.float64(leaf.minimum) + leaf.maximum) / 2
  half = (np.float64(leaf.maximum) - leaf.minimum) / 2
  # How far from the middle, 1 at a bound.
  distance = np.abs(column - middle) / np.where(half, half, 1)
  if not (distance < _CLIPPED_TO).all():
    return column, None
  outside = (distance > 1 + _ROUNDING).reshape(len(column), -1).any(1)
  clipped = np.clip(column, leaf.minimum, leaf.maximum)
  if not outside.any():
    return clipped, None
  most = column.reshape(-1)[np.argmax(distance)]
  return clipped, {'steps': int(outside.sum()), 'most': float(most)}


def _two_arms(found: tuple[int, ...], expected: tuple[int, ...]) -> str:
  """Returns what to add to an error about the size of a vector."""
  if len(found) == len(expected) == 1 and found[0] == 2 * expected[0]:
    return ' (twice as many numbers: a file of two arms; tasks here move one)'
  return ''


def _saturate(column: np.ndarray, leaf: specs.Array) -> tuple[np.ndarray, int]:
  """Returns the column within the leaf's bounds and how much was outside."""
  if not hasattr(leaf, 'minimum'):
    return column, 0
  clipped = np.clip(column, leaf.minimum, leaf.maximum).astype(leaf.dtype)
  return clipped, int((clipped != column).sum())


def _observation_spec(column: np.ndarray) -> specs.Array:
  if column.dtype == np.uint8:
    return specs.BoundedArray(column.shape[1:], np.uint8, 0, 255)
  return specs.Array(column.shape[1:], np.float32)


def _show(array: Any) -> str:
  return f'{np.dtype(array.dtype).name} {list(array.shape)}'


def _map_specs(function: Any, nested: types.NestedSpec) -> Any:
  if isinstance(nested, Mapping):
    return {key: _map_specs(function, leaf) for key, leaf in nested.items()}
  return function(nested)


def _map(function: Any, nested: types.NestedArray) -> Any:
  if isinstance(nested, Mapping):
    return {key: _map(function, value) for key, value in nested.items()}
  return function(np.asarray(nested))
