"""Reads the demonstrations that SERL records: a pickled list of transitions.

Luo et al. 2024, SERL, arXiv 2401.16013. A transition is a dict of observations,
actions, next_observations, rewards, masks (the discount) and dones. An
observation is a dict of 'state', a vector, and an image for each camera, all of
them under an axis of stacked frames, which is dropped where it is 1.

An episode ends where `dones` says so, and where the next transition does not
begin with the observation that the one before led to, as in a file from which
something was cut. How it ended:

    time_limit   masks is not 0 at the end; or it is, and the episode has as
                 many steps as the `time_limit` that was given
    termination  masks is 0 at the end
    cut          dones is not set: the end was cut off; it is bootstrapped from

Files of the real robot's tasks have a mask of 0 at either kind of end, and
nothing in them tells which it was; those of the simulation, which does not
terminate, can be told by their length.
"""

from collections.abc import Iterator, Mapping, Sequence
import os
import pathlib
import pickle
from typing import Any

import numpy as np

from serl import types
from serl.demos import files
from serl.demos import records
from serl.utils import restricted_pickle

_KEYS = (
  'observations',
  'actions',
  'next_observations',
  'rewards',
  'masks',
  'dones',
)

_Transitions = list[Mapping[str, Any] | None]


def read(
  path: str | os.PathLike,
  time_limit: int | None = None,
  success: bool | None = None,
) -> Iterator[records.Record]:
  """Yields the episodes of a file, in their order, each let go of after it.

  The pickle is loaded as a whole, once; beside it there is one episode at a
  time. metadata['end'] tells how an episode ended.

  Args:
    path: of the pickle.
    time_limit: steps after which the task's episodes were ended, if they were.
    success: of every transition, where the file is one of the two that SERL's
      reward classifier learns from; becomes the column 'success' of extras. In
      these an episode may be a single step, and all have a column 'snapshot'.

  Raises:
    FileNotFoundError: there is no such file.
    FileError: the file is not as described above. What stands in it beside
      arrays and containers is refused and not run.
  """
  path = pathlib.Path(path)
  transitions = _load(path)
  for begin, end in _spans(path, transitions):
    steps = transitions[begin:end]
    name = f'{path}, transitions {begin} to {end - 1}'
    discount, ending = _ending(name, steps, time_limit)
    if len(steps) == 1 and success is None:
      raise files.FileError(
        f'{name}: an episode of one step ({ending}), expected more; remove it '
        'from the file, or say whether these are snapshots of success or of '
        'failure, for a classifier: --success=yes or no of convert_data and '
        'inspect_data, --success or --failure of train_reward_classifier.py'
      )
    episode = _episode(name, steps, discount)
    if success is not None:
      episode = episode._replace(
        extras={
          'success': np.full(len(steps), success, np.uint8),
          records.SNAPSHOT: np.ones(len(steps), np.uint8),
        }
      )
    # Let go of what was copied: the list is all that still holds it.
    steps.clear()
    transitions[begin:end] = [None] * (end - begin)
    yield records.Record(name, episode, {'source': path.name, 'end': ending})


def _load(path: pathlib.Path) -> _Transitions:
  try:
    transitions = restricted_pickle.load(path)
  except pickle.UnpicklingError as error:
    raise files.PickleFileError(str(error)) from error
  if not isinstance(transitions, list) or not transitions:
    raise files.FileError(
      f'{path}: a pickle of {_show(transitions)}, expected a list of '
      'transitions'
    )
  for i, transition in enumerate(transitions):
    if not isinstance(transition, Mapping):
      raise files.FileError(
        f'{path}, transition {i}: {_show(transition)}, expected a dict of '
        f'{", ".join(_KEYS)}'
      )
    missing = [key for key in _KEYS if key not in transition]
    if missing:
      raise files.FileError(
        f'{path}, transition {i}: no {", ".join(missing)} among '
        f'{", ".join(map(str, transition))}; expected what SERL records'
      )
  return transitions


def _spans(
  path: pathlib.Path, transitions: _Transitions
) -> list[tuple[int, int]]:
  """Returns begin and end (exclusive) of each episode."""
  spans, begin = [], 0
  for i, transition in enumerate(transitions):
    done = bool(_scalar(f'{path}, transition {i}', transition, 'dones'))
    if (
      done
      or i + 1 == len(transitions)
      or not _equal(
        transition['next_observations'], transitions[i + 1]['observations']
      )
    ):
      spans.append((begin, i + 1))
      begin = i + 1
  return spans


def _ending(
  name: str, steps: _Transitions, time_limit: int | None
) -> tuple[np.ndarray, str]:
  """Returns the discounts [T] float32 and how the episode ended."""
  discount = np.array([_scalar(name, s, 'masks') for s in steps], np.float32)
  if (discount[:-1] == 0).any():
    raise files.FileError(
      f'{name}: masks is 0 at step {int(np.argmin(discount[:-1]))} of '
      f'{len(steps)}, but dones is not set there; expected both together'
    )
  if time_limit is not None and len(steps) > time_limit:
    raise files.FileError(
      f'{name}: {len(steps)} steps, but the time limit was said to be '
      f'{time_limit}; give the one that the data were recorded with'
    )
  if not _scalar(name, steps[-1], 'dones'):
    if discount[-1] == 0:
      raise files.FileError(
        f'{name}: masks is 0 at the last step, but dones is not set there; '
        'expected both together'
      )
    return discount, 'cut'
  if discount[-1] == 0 and len(steps) == time_limit:
    discount[-1] = 1.0
  return discount, 'termination' if discount[-1] == 0 else 'time_limit'


def _episode(
  name: str, steps: _Transitions, discount: np.ndarray
) -> types.Episode:
  observations = [step['observations'] for step in steps]
  observations.append(steps[-1]['next_observations'])
  if not isinstance(observations[0], Mapping):
    observations = [{records.STATE: each} for each in observations]
  return types.Episode(
    observation=_stack(name, observations),
    action=_column(f'{name}, actions', [step['actions'] for step in steps]),
    reward=np.array([_scalar(name, s, 'rewards') for s in steps], np.float32),
    discount=discount,
  )


def _stack(name: str, steps: Sequence[Any]) -> types.NestedArray:
  if not isinstance(steps[0], Mapping):
    return _column(name, steps)
  for i, step in enumerate(steps):
    if not isinstance(step, Mapping) or step.keys() != steps[0].keys():
      raise files.FileError(
        f'{name}: observation {i} is {_show(step)}, unlike the first, '
        f'{_show(steps[0])}; expected the same of every step'
      )
  if not steps[0] or not all(map(_is_name, steps[0])):
    raise files.FileError(
      f'{name}: observations are {_show(steps[0])}, expected names without '
      'slashes'
    )
  return {
    key: _stack(f'{name}, {key}', [step[key] for step in steps])
    for key in steps[0]
  }


def _is_name(key: Any) -> bool:
  # At a slash an episode's file would make a dict within the dict.
  return isinstance(key, str) and key != '' and '/' not in key


def _column(name: str, steps: Sequence[Any]) -> np.ndarray:
  arrays = [np.asarray(step) for step in steps]
  if len(arrays[0].shape) > 1 and arrays[0].shape[0] == 1:
    arrays = [array[0] if array.ndim else array for array in arrays]
  kinds = {(array.shape, array.dtype) for array in arrays}
  if len(kinds) > 1 or arrays[0].dtype.kind not in 'bfiu':
    raise files.FileError(
      f'{name}: {", ".join(f"{d} {list(s)}" for s, d in kinds)}; expected '
      'numbers of one shape and dtype in all steps'
    )
  return np.stack(arrays)


def _scalar(name: str, transition: Mapping[str, Any], key: str) -> float:
  value = np.asarray(transition[key])
  if value.size != 1 or value.dtype.kind not in 'bfiu':
    raise files.FileError(
      f'{name}: {key} is {_show(transition[key])}, expected a number'
    )
  return value.item()


def _equal(a: Any, b: Any) -> bool:
  if isinstance(a, Mapping) and isinstance(b, Mapping):
    return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
  return np.array_equal(a, b)


def _show(value: Any) -> str:
  if isinstance(value, Mapping):
    return f'a dict of {", ".join(map(str, value))[:80] or "nothing"}'
  if isinstance(value, np.ndarray):
    return f'{value.dtype} {list(value.shape)}'
  if isinstance(value, (list, tuple)):
    return f'a {type(value).__name__} of {len(value)}'
  return f'{value!r:.80}'
