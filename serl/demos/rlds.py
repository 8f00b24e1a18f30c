"""Reads and writes RLDS, as tensorflow-datasets and envlogger keep it.

Ramos et al. 2021, RLDS: an Ecosystem to Generate, Share and Use Datasets in
Reinforcement Learning, arXiv 2111.02767. An episode is a data set of steps with
an observation, the action taken on it, the reward and discount that this gave,
is_first, is_last and is_terminal. The last step of T + 1 that we write has an
observation alone; its action, reward and discount mean nothing. What others
mean by theirs is found out, see `rlds_steps`.

What RLDS has no place for stands beside it: the extras as 'extras' of a step,
zeros in the last one; an episode's metadata as JSON in 'metadata', the rate of
its steps among them; the spec and that rate in the data set's metadata.json.
"""

import collections
from collections.abc import Iterable, Iterator, Mapping
import itertools
import json
import os
import pathlib
from typing import Any

from absl import logging
from google.protobuf import json_format
import numpy as np
import tree

from serl import specs
from serl import types
from serl.demos import fields
from serl.demos import files
from serl.demos import folders
from serl.demos import records
from serl.demos import rlds_fields
from serl.demos import rlds_steps

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
_ALL = fields.Choice()
# What is torn is met by TensorFlow, what is missing by tensorflow-datasets, and
# descriptions that are none by either, and by protobuf.
_DAMAGES = (
  tf.errors.OpError,
  json_format.ParseError,
  AssertionError,
  KeyError,
  RecursionError,
  TypeError,
  ValueError,
)
_CONVENTIONS = {
  'acted': 'read as Open-X publishes RLDS: the last step of an episode has an '
  'action and a reward, and its observation also stands for the one after it '
  '(if these mean nothing there: --last-step=observed of convert_data)',
  'observed': 'read as SERL logs RLDS: the last step of an episode is an '
  'observation alone (if its action and reward mean something: '
  '--last-step=acted of convert_data)',
}


def read(
  folder: str | os.PathLike,
  last_step: rlds_steps.LastStep | None = None,
  choice: fields.Choice = _ALL,
) -> Iterator[records.Record]:
  """Yields the episodes of all splits, one at a time.

  Where an episode ends, and what its last step is, `rlds_steps` finds out; data
  that `write` made are 'observed'. What was found is logged, and what was left
  out: episodes of fewer than two actions, for one.

  Args:
    folder: of the data set, or the one above with a single version in it.
    last_step: the convention; that which is found by default.
    choice: of the fields of others' data. Several of a dict of actions become
      one vector.

  Raises:
    FileError: it is no RLDS data set, empty or damaged, or has fields that are
      no numbers of one shape.
  """
  folder = _find(folder)
  tally: collections.Counter[str] = collections.Counter()
  try:
    yield from _read(folder, last_step, choice, tally)
  except files.FileError:
    raise
  except _DAMAGES as error:
    raise files.FileError(
      f'{folder}: torn or damaged after {tally["examples"]} episodes '
      f'({error}); replace the data set'
    ) from error
  if tally['split'] or tally['short']:
    logging.warning(
      '%s: of %d episodes %d were split where is_first, is_last or is_terminal '
      'is set amid them; %d of fewer than 2 actions were left out.',
      folder,
      tally['examples'],
      tally['split'],
      tally['short'],
    )
  if not tally['read']:
    raise files.FileError(
      f'{folder}: no episode of 2 actions or more among {tally["examples"]}, '
      'expected some'
    )


def read_spec(folder: str | os.PathLike) -> specs.EnvironmentSpec | None:
  """Returns the spec of a data set that `write` made, None of any other.

  Raises:
    FileError: what is written in its place is none.
  """
  path = _find(folder) / 'metadata.json'
  if not path.is_file():
    return None
  try:
    described = json.loads(path.read_text()).get(_SPEC)
    if described is None:
      return None
    return records.make_spec(
      specs.from_dict(described['observations']),
      specs.from_dict(described['actions']),
    )
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise files.FileError(
      f'{path}: torn or damaged ({error!r}), expected what describes '
      'the data set; replace it'
    ) from error


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
    ValueError: an episode has other extras than those before it, or there
      is no episode.
  """
  found = records.rated(found)
  first = next(found, None)
  if first is None:
    raise ValueError(f'{folder}: no episode to write; expected some')
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
  if (folder / name).is_file():
    return folder
  versions = sorted(path.parent for path in folder.glob(f'*/{name}'))
  if len(versions) != 1:
    raise files.FileError(
      f'{folder}: {len(versions)} data sets with a {name} in it '
      f'({", ".join(map(str, versions))}); name one'
    )
  return versions[0]


def _read(
  folder: pathlib.Path,
  last_step: rlds_steps.LastStep | None,
  choice: fields.Choice,
  tally: collections.Counter[str],
) -> Iterator[records.Record]:
  """Yields the episodes; counts all, those that it split, and short ones."""
  builder = rlds_fields.open_builder(folder)
  features = rlds_fields.demand_steps(folder, builder.info.features)
  # What others keep by the name of our metadata is theirs.
  is_ours = read_spec(folder) is not None
  if is_ours:
    last_step = last_step or 'observed'
    images, select = rlds_fields.leaves(features), lambda step: step
  else:
    kept = rlds_fields.choose(folder, features, choice)
    images, select = kept.chosen, lambda step: rlds_steps.select(step, *kept)
    last_step = last_step or rlds_steps.find_last_step(
      rlds_steps.read_flags(name, list(tfds.as_numpy(found['steps'])))
      for name, found in _examples(folder, builder, decoded=())
    )
    logging.warning('%s: %s', folder, _CONVENTIONS[last_step])
  for name, found in _examples(folder, builder, images):
    metadata = json.loads(found['metadata'].numpy()) if is_ours else {}
    steps = list(map(select, tfds.as_numpy(found['steps'])))
    spans = rlds_steps.spans(rlds_steps.read_flags(name, steps), last_step)
    tally['split'] += len(spans) > 1
    tally['short'] += not spans
    for begin, end in spans:
      actions = end - begin - (last_step == 'observed')
      is_snapshot = records.SNAPSHOT in steps[begin].get('extras', {})
      if actions < (1 if is_snapshot else 2):
        tally['short'] += 1
        continue
      part = name if len(spans) == 1 else f'{name}, steps {begin} to {end - 1}'
      episode = rlds_steps.make_episode(part, steps[begin:end], last_step)
      yield records.Record(part, episode, metadata)
      tally['read'] += 1
    tally['examples'] += 1


def _examples(
  folder: pathlib.Path, builder: Any, decoded: Iterable[str]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
  """Yields the name and the content of each example of all splits.

  Args:
    folder: of the data set.
    builder: of the data set.
    decoded: paths of fields of a step whose images are decoded.

  Raises:
    ValueError: their number differs from the one that was counted before.
  """
  steps = builder.info.features['steps'].feature
  decoders = rlds_fields.decoders(steps, decoded)
  for split, told in builder.info.splits.items():
    count = 0
    for found in builder.as_dataset(
      split=split, shuffle_files=False, decoders=decoders
    ):
      yield f'{folder}, {split} episode {count}', found
      count += 1
    if count != told.num_examples:
      raise ValueError(f'{split} should have {told.num_examples}')


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
