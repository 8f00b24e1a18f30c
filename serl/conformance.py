"""What an environment gives, checked against its specs as an episode begins.

So a mistake in an environment is found before its first step, and not when a
whole episode has been acted.
"""

from typing import Any

import dm_env
import numpy as np

from serl import specs
from serl import types

# Up to here the fourth power of a number, as the square of a squared error, is
# a float32: beyond it no learning rate helps.
LARGEST = 1e9
# By how much of their range numbers may pass their bounds.
_ROUNDING = 1e-4
_OBSERVED_SLACK = 0.5


def check_first(timestep: dm_env.TimeStep, spec: specs.EnvironmentSpec) -> None:
  """Refuses the first timestep of an episode that is not what `spec` says.

  Raises:
    ValueError: naming each array of the observation that has another shape or
      dtype, or a value that nothing could learn from, see `value_problem`.
  """
  lines = []
  if not _is_timestep(timestep):
    lines.append(f'{type(timestep).__name__}, expected a dm_env.TimeStep')
  elif not timestep.first():
    lines.append(f'step_type: {timestep.step_type!r}, expected FIRST')
  else:
    lines.extend(_observation_problems(timestep.observation, spec))
  _refuse('reset()', lines)


def check_step(timestep: dm_env.TimeStep, spec: specs.EnvironmentSpec) -> None:
  """Refuses what a step led to that is not what `spec` says.

  Raises:
    ValueError: as `check_first`, and where the reward or the discount is no
      single number, or the discount is not in [0, 1].
  """
  lines = []
  if not _is_timestep(timestep):
    lines.append(f'{type(timestep).__name__}, expected a dm_env.TimeStep')
  else:
    lines.extend(_observation_problems(timestep.observation, spec))
    for name in ('reward', 'discount'):
      given = getattr(timestep, name)
      value = np.asarray(given)
      if value.shape or value.dtype.kind not in 'fiub':
        lines.append(f'{name}: {_kind(given)}, expected one number')
      elif name == 'discount' and not 0 <= value <= 1:
        lines.append(f'discount: {value}, expected within [0, 1]')
  _refuse('step()', lines)


def value_problem(path: str, column: np.ndarray, leaf: specs.Array) -> str:
  """Returns which step of a column nothing could learn from, '' if none.

  Args:
    path: of the column in `types.Episode`.
    column: of the dtype and shape of `leaf`, with a leading axis.
    leaf: what it is to be. Numbers are finite and at most `LARGEST`. Actions
      and discounts are within their bounds, but for rounding; observations,
      which sensors give, are within twice the range of theirs.
  """
  low, high = -LARGEST, LARGEST
  if isinstance(leaf, specs.BoundedArray):
    low, high = np.asarray(leaf.minimum, float), np.asarray(leaf.maximum, float)
    is_observed = path.startswith('observation')
    # The range of float64 itself is wider than a float64.
    with np.errstate(over='ignore'):
      slack = (high - low) * (_OBSERVED_SLACK if is_observed else _ROUNDING)
    low = np.maximum(low - slack, -LARGEST)
    high = np.minimum(high + slack, LARGEST)
  if column.dtype == np.uint8 and np.all(low <= 0) and np.all(high >= 255):
    return ''
  # A NaN is on neither side.
  sound = (column >= low) & (column <= high)
  if sound.all():
    return ''
  step = int(np.argmin(sound.reshape(len(column), -1).all(axis=1)))
  wanted = f'expected finite numbers of at most {LARGEST:.0e} in size'
  if (
    np.isfinite(column[step]).all() and (np.abs(column[step]) <= LARGEST).all()
  ):
    wanted = f'expected within [{leaf.minimum}, {leaf.maximum}]'
  return f'{path}: {column[step]} at step {step}, {wanted}'


def _is_timestep(value: Any) -> bool:
  """Returns whether `value` has the fields of a timestep, and maybe others."""
  fields = getattr(value, '_fields', ())
  return set(dm_env.TimeStep._fields) <= set(fields)


def _observation_problems(
  observation: types.NestedArray, spec: specs.EnvironmentSpec
) -> list[str]:
  given = specs.flatten(observation, 'observation')
  expected = specs.flatten(spec.observations, 'observation')
  lines = []
  for path in sorted({*given, *expected}):
    if path not in given:
      lines.append(f'{path}: missing, expected {_kind(expected[path])}')
    elif path not in expected:
      lines.append(f'{path}: {_kind(given[path])}, which no spec is of')
    elif _kind(given[path]) != _kind(expected[path]):
      lines.append(
        f'{path}: {_kind(given[path])}, expected {_kind(expected[path])}'
      )
    else:
      column = np.asarray(given[path])[None]
      lines.append(value_problem(path, column, expected[path]))
  return list(filter(None, lines))


def _kind(value: Any) -> str:
  """Returns the dtype and shape of an array, or of a spec of one."""
  if value is None or isinstance(value, (str, bytes)):
    return type(value).__name__
  array = value if isinstance(value, specs.Array) else np.asarray(value)
  return f'{np.dtype(array.dtype).name} {list(array.shape)}'


def _refuse(source: str, lines: list[str]) -> None:
  if lines:
    raise ValueError(
      f'What {source} of the environment gave is not what its specs say; make '
      'the two agree:\n  ' + '\n  '.join(lines)
    )
