"""The steps of RLDS: where an episode ends, and what its last step is.

RLDS has two conventions for the last step of an episode:

    observed   T + 1 steps, the last an observation alone, whose action, reward
               and discount are zeros or mean nothing: RLDS as it is defined, as
               envlogger and SERL write it, and this project
    acted      T steps, the last with an action and a reward like any other, as
               Open-X publishes it. No step has the observation after it: the
               last observation stands for that, too

Nothing in a data set names its convention. An action or a reward in the last
step that is not 0 is a sign of the second.
"""

from collections.abc import Iterable, Mapping, Sequence
import itertools
from typing import Any, Literal, NamedTuple

import numpy as np

from serl import specs
from serl import types
from serl.demos import fields
from serl.demos import files

LastStep = Literal['observed', 'acted']

_OBSERVATION, _ACTION, _EXTRAS = fields.OBSERVATION, fields.ACTION, 'extras'


class Flags(NamedTuple):
  """What there is to know of each of N steps in a row; bool [N]."""

  first: np.ndarray
  last: np.ndarray
  terminal: np.ndarray
  empty: np.ndarray  # the action and the reward are 0, or no numbers


def read_flags(name: str, steps: Sequence[Mapping[str, Any]]) -> Flags:
  """Returns the flags of the steps of an example; missing ones are unset."""

  def column(key: str) -> np.ndarray:
    return _numbers(f'{name}, {key}', [s.get(key, False) for s in steps]) != 0

  return Flags(
    first=column('is_first'),
    last=column('is_last'),
    terminal=column('is_terminal'),
    empty=np.array([_is_empty(step) for step in steps], bool),
  )


def spans(flags: Flags, last_step: LastStep | None) -> list[tuple[int, int]]:
  """Returns begin and end (exclusive) of each episode in a row of steps.

  An episode ends before is_first, at is_last and at is_terminal. Of several
  is_last in a row the last one counts: SERL's logger sets it in all steps but
  the first. Where is_terminal is set at an action and the last observation
  follows, that one is the end, unless last steps are known to be 'acted'.
  """
  count = len(flags.last)
  following = lambda column: np.append(column[1:], False)
  ends = np.arange(count) == count - 1
  ends |= following(flags.first) | (flags.last & ~following(flags.last))
  outcome_follows = following(ends & flags.empty) & (last_step != 'acted')
  ends |= flags.terminal & ~outcome_follows
  borders = [0, *(np.flatnonzero(ends) + 1).tolist()]
  return list(itertools.pairwise(borders))


def find_last_step(rows: Iterable[Flags]) -> LastStep:
  """Returns the convention of a data set.

  What counts is whether ends that are flagged as such are empty. An end that is
  not may be where the recording was cut off, and counts only without others.

  Args:
    rows: the flags of each example. No more are read than it takes.
  """
  flagged = False
  unflagged_acted = False
  for flags in rows:
    for _, end in spans(flags, None):
      acted = not flags.empty[end - 1]
      if not (flags.last[end - 1] or flags.terminal[end - 1]):
        unflagged_acted |= acted
      elif acted:
        return 'acted'
      else:
        flagged = True
  return 'acted' if unflagged_acted and not flagged else 'observed'


def select(
  step: Mapping[str, Any],
  chosen: Sequence[str],
  extras: Sequence[str] = (),
  stacked: Sequence[str] = (),
) -> dict[str, Any]:
  """Returns a step of others as one of ours; a dict of actions as one vector.

  Args:
    step: nested arrays.
    chosen: paths of the fields of the observation and the action, in order.
    extras: paths of the extras.
    stacked: those chosen whose first axis is dropped, a stack of one frame, as
      SERL's observations are.
  """
  leaves = {
    **specs.flatten(step[_OBSERVATION], _OBSERVATION),
    **specs.flatten(step[_ACTION], _ACTION),
    **specs.flatten(step.get(_EXTRAS, {}), _EXTRAS),
  }
  leaves.update({path: leaves[path][0] for path in stacked})
  action = [leaves[p] for p in chosen if fields.is_within(p, _ACTION)]
  if isinstance(step[_ACTION], Mapping):
    action = [np.concatenate([np.ravel(part) for part in action])]
  kept = [p for p in chosen if fields.is_within(p, _OBSERVATION)]
  tree = specs.unflatten({path: leaves[path] for path in (*kept, *extras)})
  return {**step, _EXTRAS: {}, **tree, _ACTION: action[0]}


def make_episode(
  name: str, steps: Sequence[Mapping[str, Any]], last_step: LastStep
) -> types.Episode:
  """Returns the steps of one episode as such.

  The discount is 0 where is_terminal says so, and else that of the step, or 1
  where there is none.

  Args:
    name: of the episode, for messages.
    steps: at least two, or one if it is 'acted'.
    last_step: their convention.

  Raises:
    FileError: a field has no numbers, or another shape in another step.
  """
  if last_step == 'observed':
    acted, observed = steps[:-1], steps
  else:
    acted, observed = steps, [*steps, steps[-1]]
  discount = [step.get('discount', 1.0) for step in acted]
  discount = _numbers(f'{name}, discount', discount)
  if any(np.any(s.get('is_terminal', False)) for s in (acted[-1], steps[-1])):
    discount[-1] = 0.0
  return types.Episode(
    observation=_stack(name, _OBSERVATION, [s[_OBSERVATION] for s in observed]),
    action=_stack(name, _ACTION, [step[_ACTION] for step in acted]),
    reward=_numbers(f'{name}, reward', [step['reward'] for step in acted]),
    discount=discount,
    extras=_stack(name, _EXTRAS, [step.get(_EXTRAS, {}) for step in acted]),
  )


def _is_empty(step: Mapping[str, Any]) -> bool:
  leaves = specs.flatten([step[_ACTION], step['reward']])
  arrays = [np.asarray(leaf) for leaf in leaves.values()]
  # What is not finite is no action that anything has executed.
  return not any(
    np.any(np.isfinite(array) & (array != 0))
    for array in arrays
    if array.dtype.kind in 'bfiu'
  )


def _numbers(name: str, values: Sequence[Any]) -> np.ndarray:
  """Returns a number for each step, float32 [N]."""
  arrays = [np.asarray(value) for value in values]
  for step, array in enumerate(arrays):
    if array.size != 1 or array.dtype.kind not in 'bfiu':
      raise files.FileError(
        f'{name}: {_show(array)} at step {step}, expected one number a step'
      )
  return np.array([array.item() for array in arrays], np.float32)


def _stack(name: str, path: str, steps: Sequence[Any]) -> types.NestedArray:
  if isinstance(steps[0], Mapping):
    return {
      key: _stack(name, f'{path}/{key}', [step[key] for step in steps])
      for key in steps[0]
    }
  arrays = [np.asarray(step) for step in steps]
  for step, array in enumerate(arrays):
    if array.dtype.kind not in 'bfiu' or array.shape != arrays[0].shape:
      raise files.FileError(
        f'{name}, {path}: {_show(array)} at step {step}, {_show(arrays[0])} at '
        'step 0; expected numbers of one shape in all steps: leave it out '
        f'(--drop={path} of python -m serl.tools.convert_data) or bring it to '
        'one size'
      )
  return np.stack(arrays)


def _show(array: np.ndarray) -> str:
  if array.dtype.kind in 'bfiu':
    return f'{array.dtype.name} {list(array.shape)}'
  first = array.flat[0] if array.size else ''
  if isinstance(first, Mapping):
    return 'a dict'
  return 'text' if isinstance(first, (bytes, str)) else 'a sequence'
