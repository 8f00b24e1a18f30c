"""Reads and writes RLDS, as tensorflow-datasets and envlogger keep it.

Ramos et al. 2021, RLDS: an Ecosystem to Generate, Share and Use Datasets in
Reinforcement Learning, arXiv 2111.02767. An episode is a data set of steps with
an observation, the action taken on it, the reward and discount that this gave,
is_first, is_last and is_terminal. The last step of T + 1 has an observation
alone; its action, reward and discount mean nothing.

What RLDS has no place for stands beside it: the extras as 'extras' of a step,
zeros in the last one; an episode's metadata as JSON in 'metadata', the rate of
its steps among them; the spec and that rate in the data set's metadata.json.
"""

from collections.abc import Iterable, Iterator, Mapping
import itertools
import json
import os
import pathlib
from typing import Any

from absl import logging
import numpy as np
import tree

from serl import specs
from serl import types
from serl.demos import files
from serl.demos import folders
from serl.demos import records

try:
  import tensorflow as tf
  import tensorflow_datasets as tfds
  from tensorflow_datasets.rlds import rlds_base
except ModuleNotFoundError as error:
  raise ModuleNotFoundError(
    f"RLDS needs {error.name}, which is not here: pip install 'serl[rlds]'"
  ) from error

_NAME = 'serl'
_VERSION = '1.0.0'
_SPLIT = 'train'
_SPEC = 'serl_spec'
# Image episodes are some 10 MB each.
_EPISODES_IN_FILE = 20
# The fields of a step that make an episode's columns.
_STEP = (
  'observation',
  'action',
  'reward',
  'discount',
  'is_first',
  'is_last',
  'is_terminal',
  'extras',
)


def read(folder: str | os.PathLike) -> Iterator[records.Record]:
  """Yields the episodes of all splits, one at a time.

  The discount is 0 where is_terminal says so, and else that of the step, or 1
  where there is none. Other fields of a step are left out, with a warning.

  Args:
    folder: of the data set, or the one above with a single version in it.

  Raises:
    FileError: it is no RLDS data set, empty or damaged, or an episode is one of
      a single step.
  """
  folder = _find(folder)
  # What others keep by that name is theirs.
  has_metadata = read_spec(folder) is not None
  count = 0
  try:
    builder = tfds.builder_from_directory(folder)
    _check_features(folder, builder.info.features)
    for split, told in builder.info.splits.items():
      data = builder.as_dataset(split=split, shuffle_files=False)
      before = count
      for found in data:
        name = f'{folder}, {split} episode {count - before}'
        metadata = {}
        if has_metadata:
          metadata = json.loads(found['metadata'].numpy())
        yield records.Record(name, _episode(name, found), metadata)
        count += 1
      if count - before != told.num_examples:
        raise ValueError(f'{split} should have {told.num_examples}')
  except files.FileError:
    raise
  # What is torn is met by TensorFlow, what is missing by tensorflow-datasets.
  except (tf.errors.OpError, AssertionError, ValueError) as error:
    raise files.FileError(
      f'{folder}: torn or damaged after {count} episodes ({error}); replace '
      'the data set'
    ) from error
  if not count:
    raise files.FileError(f'{folder}: no episode in it, expected some')


def read_spec(folder: str | os.PathLike) -> specs.EnvironmentSpec | None:
  """Returns the spec of a data set that `write` made, None of any other."""
  path = _find(folder) / 'metadata.json'
  if not path.exists():
    return None
  described = json.loads(path.read_text()).get(_SPEC)
  if described is None:
    return None
  return records.make_spec(
    specs.from_dict(described['observations']),
    specs.from_dict(described['actions']),
  )


def write(
  folder: str | os.PathLike,
  found: Iterable[records.Record],
  spec: specs.EnvironmentSpec,
) -> None:
  """Writes a new data set, whole or not at all.

  `tfds.builder_from_directory(folder)` reads it. Images are kept without loss.

  Args:
    folder: of the data set.
    found: the episodes; read one at a time. All have the same extras.
    spec: that they fit.

  Raises:
    FileExistsError: there is such a folder or file.
    FileError: an episode is a single step, and no snapshot; or was recorded at
      another rate than one before.
    ValueError: the extras of an episode are others than those before.
  """
  found = records.rated(found)
  first = next(found)
  extras = _extras_spec(first.episode)
  with folders.new(folder) as unfinished:
    writer = tfds.core.SequentialWriter(
      _info(unfinished, spec, extras, first.metadata.get(files.RATE)),
      max_examples_per_shard=_EPISODES_IN_FILE,
    )
    writer.initialize_splits([_SPLIT])
    for record in itertools.chain([first], found):
      lines = specs.differences(
        specs.to_dict(_extras_spec(record.episode)), specs.to_dict(extras)
      )
      if lines:
        raise ValueError(
          f'{record.name}: other extras than {first.name}; RLDS needs the same '
          'of all, so convert them apart:\n  ' + '\n  '.join(lines)
        )
      if (
        record.episode.length == 1
        and records.SNAPSHOT not in record.episode.extras
      ):
        raise files.FileError(
          f'{record.name}: an episode of one step, expected more; remove it'
        )
      writer.add_examples({_SPLIT: [_example(record, spec)]})
    writer.close_all()


def _find(folder: str | os.PathLike) -> pathlib.Path:
  folder = pathlib.Path(folder)
  name = 'features.json'
  if (folder / name).exists():
    return folder
  versions = sorted(path.parent for path in folder.glob(f'*/{name}'))
  if len(versions) != 1:
    raise files.FileError(
      f'{folder}: {len(versions)} data sets with a {name} in it '
      f'({", ".join(map(str, versions))}); name one'
    )
  return versions[0]


def _check_features(folder: pathlib.Path, features: Any) -> None:
  steps = features['steps'].feature if 'steps' in features else {}
  missing = [
    name
    for name in ('observation', 'action', 'reward', 'is_last')
    if name not in steps
  ]
  if missing:
    raise files.FileError(
      f'{folder}: no {", ".join(missing)} among '
      f'{", ".join(steps or features)}; expected the steps of RLDS'
    )
  ignored = sorted(set(steps) - set(_STEP))
  if ignored:
    logging.warning('%s: steps also have %s; left out.', folder, ignored)


def _episode(name: str, found: Mapping[str, Any]) -> types.Episode:
  steps = list(tfds.as_numpy(found['steps']))
  least = 2 if steps and records.SNAPSHOT in steps[0].get('extras', {}) else 3
  if len(steps) < least:
    raise files.FileError(
      f'{name}: {len(steps)} steps with the last, which has no action; '
      'expected an episode of at least 2 actions: remove it from the data set'
    )
  acted = steps[:-1]
  discount = np.array([step.get('discount', 1.0) for step in acted], np.float32)
  if steps[-1].get('is_terminal', False) or acted[-1].get('is_terminal', False):
    discount[-1] = 0.0
  return types.Episode(
    observation=_stack([step['observation'] for step in steps]),
    action=_stack([step['action'] for step in acted]),
    reward=np.array([step['reward'] for step in acted], np.float32),
    discount=discount,
    extras=_stack([step.get('extras', {}) for step in acted]),
  )


def _info(
  folder: pathlib.Path,
  spec: specs.EnvironmentSpec,
  extras: Any,
  rate: float | None,
) -> tfds.core.DatasetInfo:
  described = {
    'observations': specs.to_dict(spec.observations),
    'actions': specs.to_dict(spec.actions),
  }
  config = rlds_base.DatasetConfig(
    name=_NAME,
    overall_description='Episodes of a robot, written by serl.',
    observation_info=_features(spec.observations),
    action_info=_features(spec.actions),
    reward_info=tfds.features.Scalar(np.float32),
    discount_info=tfds.features.Scalar(np.float32),
    step_metadata_info={'extras': _features(extras)} if extras else {},
    episode_metadata_info={'metadata': tfds.features.Text()},
  )
  identity = tfds.core.DatasetIdentity(
    name=_NAME,
    version=tfds.core.Version(_VERSION),
    data_dir=str(folder),
    module_name='',
  )
  return rlds_base.build_info(
    config, identity, {_SPEC: described, files.RATE: rate}
  )


def _features(spec: types.NestedSpec) -> Any:
  """Returns the features of tensorflow-datasets that keep such arrays."""
  if isinstance(spec, Mapping):
    return tfds.features.FeaturesDict(
      {name: _features(leaf) for name, leaf in spec.items()}
    )
  if specs.is_image(spec) and len(spec.shape) == 3 and spec.shape[2] in (1, 3):
    return tfds.features.Image(shape=spec.shape, encoding_format='png')
  return tfds.features.Tensor(shape=spec.shape, dtype=np.dtype(spec.dtype))


def _extras_spec(episode: types.Episode) -> Any:
  extras = specs.flatten(episode.extras)
  return specs.unflatten(
    {
      path: specs.Array(np.shape(column)[1:], np.asarray(column).dtype)
      for path, column in extras.items()
    }
  )


def _example(
  record: records.Record, spec: specs.EnvironmentSpec
) -> dict[str, Any]:
  episode = record.episode
  length = episode.length
  nothing = specs.zeros_like(
    {'action': spec.actions, 'extras': _extras_spec(episode)}
  )
  steps = []
  for t in range(length + 1):
    row = lambda column, t=t: np.asarray(column)[t]
    last = t == length
    step = {
      'observation': tree.map_structure(row, episode.observation),
      'reward': np.float32(0 if last else episode.reward[t]),
      'discount': np.float32(0 if last else episode.discount[t]),
      'is_first': t == 0,
      'is_last': last,
      'is_terminal': last and episode.discount[-1] == 0,
    }
    acted = {'action': episode.action, 'extras': episode.extras}
    acted = nothing if last else tree.map_structure(row, acted)
    if not episode.extras:
      acted = {'action': acted['action']}
    steps.append({**step, **acted})
  return {'steps': steps, 'metadata': json.dumps(dict(record.metadata))}


def _stack(steps: list[Any]) -> Any:
  return tree.map_structure(lambda *leaves: np.stack(leaves), *steps)
