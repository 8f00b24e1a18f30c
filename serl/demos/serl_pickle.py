"""Reads what SERL and HIL-SERL record: pickled lists of transitions.

Luo et al. 2024, SERL, arXiv 2401.16013; HIL-SERL, arXiv 2410.21845. A
transition is a dict of observations, actions, next_observations, rewards, masks
(the discount) and dones. An observation is a dict of 'state', a vector, and an
image for each camera, all of them under an axis of stacked frames, which is
dropped where it is 1. HIL-SERL's learner writes folders, demo_buffer and
buffer, of such files, transitions_STEP.pkl. A file may hold several lists.

An episode ends where `dones` says so, and where the next transition does not
begin with the observation that the one before led to, as in a file from which
something was cut, or in a buffer of a person's interventions. How it ended:

    time_limit   masks is not 0 at the end; or it is, and the episode has as
                 many steps as the `time_limit` that was given
    termination  masks is 0 at the end
    cut          dones is not set: the end was cut off; it is bootstrapped from

Files of the real robot's tasks have a mask of 0 at either kind of end, and
nothing in them tells which it was; those of the simulation, which does not
terminate, can be told by their length.

Of `infos` alone whether a person overruled the policy is read. Nothing else is,
so that it may hold anything: it is named in the log, and never made.
"""

from collections.abc import Iterator, Mapping, Sequence
import os
import pathlib
import pickle
import re
from typing import Any

from absl import logging
import numpy as np

from serl import types
from serl.demos import files
from serl.demos import records
from serl.utils import restricted_pickle

SUFFIXES = ('.pkl', '.pickle')
_OBSERVED = ('observations', 'next_observations')
_KEYS = (
  'observations',
  'actions',
  'next_observations',
  'rewards',
  'masks',
  'dones',
)
# What HIL-SERL adds: beside the others, what a switch of the gripper costs.
_INFOS = 'infos'
_PENALTY = 'grasp_penalty'
_OVERRULED = 'intervene_action'
_RECOMPUTED = (
  f'{_PENALTY} (the cost of a switch of the gripper is computed from actions '
  'and readings: HybridConfig.penalty)'
)

_Transitions = list[Mapping[str, Any] | None]


def read(
  path: str | os.PathLike,
  time_limit: int | None = None,
  success: bool | None = None,
) -> Iterator[records.Record]:
  """Yields the episodes of a file or a folder of them, each let go of after it.

  A file is loaded as a whole, once; beside it there is one episode at a time.
  metadata['end'] tells how an episode ended. Those in which a person could
  overrule a policy have a column 'intervened'.

  Args:
    path: of the pickle, or of a folder of them, which are read in the order of
      the numbers in their names.
    time_limit: steps after which the task's episodes were ended, if they were.
    success: of every transition, where the file is one of the two that SERL's
      reward classifier learns from; becomes the column 'success' of extras. In
      these an episode may be a single step, all have a column 'snapshot', and
      nothing but the observations is read.

  Raises:
    FileNotFoundError: there is no such file.
    FileError: a file is not as described above, or holds single transitions
      alone. What stands in it beside arrays and containers is not run.
  """
  path = pathlib.Path(path)
  is_single = True
  for name, steps in _stretches(path, success is not None):
    if success is None:
      discount, ending = _ending(name, steps, time_limit)
      episode = _episode(name, steps, discount)
      is_single &= len(steps) == 1
    else:
      ending, is_single = 'cut', False
      episode = _observed_alone(name, steps, success)
    metadata = {'source': path.name, 'end': ending}
    if any(_is_hil(step) for step in steps):
      metadata[records.HIL] = True
    # Let go of what was copied: the list is all that still holds it.
    steps.clear()
    yield records.Record(name, episode, metadata)
  if is_single:
    raise files.FileError(
      f'{path}: all of its episodes are of one step, expected more; say '
      'whether these are snapshots of success or of failure, for a classifier: '
      '--success=yes or no of convert_data and inspect_data, --success or '
      '--failure of train_reward_classifier.py'
    )


def paths(path: str | os.PathLike) -> list[pathlib.Path]:
  """Returns a pickle, or those of a folder in the order of their numbers."""
  path = pathlib.Path(path)
  if not path.is_dir():
    return [path]
  found = [
    entry
    for entry in path.iterdir()
    if entry.suffix in SUFFIXES and not entry.name.startswith('.')
  ]
  numbers = lambda entry: [int(n) for n in re.findall(r'\d+', entry.stem)]
  return sorted(found, key=lambda entry: (numbers(entry), entry.name))


def _stretches(
  path: pathlib.Path, observed_alone: bool
) -> Iterator[tuple[str, _Transitions]]:
  """Yields the transitions that follow each other, and where they are."""
  steps: _Transitions = []
  begin = last = ''
  for file in paths(path):
    transitions = _load(file, observed_alone)
    for i, transition in enumerate(transitions):
      # Let go of what was read.
      transitions[i] = None
      if steps and not _equal(
        steps[-1]['next_observations'], transition['observations']
      ):
        yield f'{begin} to {last}', steps
        steps = []
      begin = begin if steps else f'{file}, transitions {i}'
      last = f'{i}' if begin.startswith(f'{file},') else f'{i} of {file.name}'
      steps.append(transition)
      if transition['dones']:
        yield f'{begin} to {last}', steps
        steps = []
  if steps:
    yield f'{begin} to {last}', steps


def _load(path: pathlib.Path, observed_alone: bool) -> _Transitions:
  """Returns what is read of the transitions of a file, checked one by one."""
  try:
    lists = restricted_pickle.load_each(path)
  except pickle.UnpicklingError as error:
    raise files.PickleFileError(str(error)) from error
  transitions = []
  for found in lists:
    if isinstance(found, restricted_pickle.Foreign):
      raise files.PickleFileError(f'{path}: {found.reason}')
    if not isinstance(found, list) or not found:
      raise files.FileError(
        f'{path}: a pickle of {_show(found)}, expected a list of transitions'
      )
    transitions += found
  if len(lists) > 1:
    logging.info('%s: holds %d lists, all are read.', path, len(lists))
  left_out: dict[str, set[str]] = {}
  for i, transition in enumerate(transitions):
    name = f'{path}, transition {i}'
    transitions[i] = _checked(name, transition, observed_alone)
    for key in transition.keys() - _KEYS:
      names = restricted_pickle.foreign_names(transition[key])
      left_out.setdefault(str(key), set()).update(names)
  if not observed_alone:
    _tell_of_infos(transitions)
  if left_out:
    told = {
      key: f'{key} ({", ".join(sorted(names))})' if names else key
      for key, names in left_out.items()
    }
    told.update({_PENALTY: _RECOMPUTED} if _PENALTY in told else {})
    logging.warning('%s: not read: %s.', path, ', '.join(told.values()))
  return transitions


def _checked(
  name: str, transition: Any, observed_alone: bool
) -> dict[str, Any]:
  """Returns the parts of a transition that are read."""
  if isinstance(transition, restricted_pickle.Foreign):
    raise files.PickleFileError(f'{name}: {transition.reason}')
  if not isinstance(transition, Mapping):
    raise files.FileError(
      f'{name}: {_show(transition)}, expected a dict of {", ".join(_KEYS)}'
    )
  wanted = _OBSERVED if observed_alone else _KEYS
  missing = [key for key in wanted if key not in transition]
  if missing:
    raise files.FileError(
      f'{name}: no {", ".join(missing)} among '
      f'{", ".join(map(str, transition))}; expected what SERL records'
    )
  for key in wanted:
    for foreign in sorted(restricted_pickle.foreign_names(transition[key])):
      raise files.PickleFileError(
        f'{name}: {key} asks for {foreign}, which is refused; expected arrays '
        'and numbers'
      )
  _demand_one_arm(name, transition['observations'])
  checked = {key: transition[key] for key in wanted}
  if observed_alone:
    return {**checked, 'dones': bool(np.all(transition.get('dones', False)))}
  return {
    **checked,
    'dones': bool(_scalar(name, transition, 'dones')),
    _PENALTY: _PENALTY in transition,
    _INFOS: transition.get(_INFOS),
  }


def _tell_of_infos(transitions: _Transitions) -> None:
  """Keeps of infos whether a person overruled, None where there are none."""
  have = any(isinstance(step[_INFOS], Mapping) for step in transitions)
  for step in transitions:
    infos = step[_INFOS]
    step[_INFOS] = (
      isinstance(infos, Mapping) and _OVERRULED in infos if have else None
    )


def _is_hil(step: Mapping[str, Any]) -> bool:
  return bool(step.get(_PENALTY)) or step.get(_INFOS) is not None


def _demand_one_arm(name: str, observation: Any) -> None:
  """Refuses what is recorded of two arms, whose names say left and right."""
  if not isinstance(observation, Mapping):
    return
  parts = [observation, *observation.values()]
  keys = {str(k) for part in parts if isinstance(part, Mapping) for k in part}
  sides = {key.partition('/')[0] for key in keys if '/' in key}
  if {'left', 'right'} <= sides or {'left', 'right'} <= keys:
    raise files.FileError(
      f'{name}: observes {", ".join(sorted(keys))[:200]}: a file of two arms, '
      "as HIL-SERL's dual-arm tasks record; expected one arm's: a task here "
      'moves one'
    )


def _observed_alone(
  name: str, steps: _Transitions, success: bool
) -> types.Episode:
  """Returns an episode for a classifier, with actions and rewards of 0."""
  count = len(steps)
  return types.Episode(
    observation=_observations(name, steps),
    action=np.zeros((count, 1), np.float32),
    reward=np.zeros(count, np.float32),
    discount=np.ones(count, np.float32),
    extras={
      'success': np.full(count, success, np.uint8),
      records.SNAPSHOT: np.ones(count, np.uint8),
    },
  )


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
      f'{time_limit}; convert the file with the one that it was recorded with: '
      'python -m serl.tools.convert_data --time-limit=STEPS'
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
  overruled = [step[_INFOS] for step in steps]
  extras = {}
  if None not in overruled:
    extras[records.INTERVENED] = np.array(overruled, np.uint8)
  return types.Episode(
    observation=_observations(name, steps),
    action=_column(f'{name}, actions', [step['actions'] for step in steps]),
    reward=np.array([_scalar(name, s, 'rewards') for s in steps], np.float32),
    discount=discount,
    extras=extras,
  )


def _observations(name: str, steps: _Transitions) -> types.NestedArray:
  observations = [step['observations'] for step in steps]
  observations.append(steps[-1]['next_observations'])
  if not isinstance(observations[0], Mapping):
    observations = [{records.STATE: each} for each in observations]
  return _stack(name, observations)


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
  try:
    arrays = [np.asarray(step) for step in steps]
  except ValueError as error:  # lists of several lengths
    raise files.FileError(f'{name}: no array of numbers ({error})') from error
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
  return a is b or np.array_equal(a, b)


def _show(value: Any) -> str:
  if isinstance(value, Mapping):
    return f'a dict of {", ".join(map(str, value))[:80] or "nothing"}'
  if isinstance(value, np.ndarray):
    return f'{value.dtype} {list(value.shape)}'
  if isinstance(value, (list, tuple)):
    return f'a {type(value).__name__} of {len(value)}'
  return f'{value!r:.80}'
