"""The fields of RLDS: which can be read, and which are asked for."""

from collections.abc import Iterable, Mapping
import json
import pathlib
from typing import Any, NamedTuple

from absl import logging
import numpy as np

from serl import specs
from serl.demos import fields as fields_lib
from serl.demos import files

try:
  import tensorflow_datasets as tfds
except ModuleNotFoundError as error:
  raise ModuleNotFoundError(
    f"RLDS needs {error.name}, which is not here: pip install 'serl[rlds]'"
  ) from error

# What is read of a step beside its observation, its action and its extras.
_NUMBERS = ('reward', 'discount', 'is_first', 'is_last', 'is_terminal')
_NEEDED = ('observation', 'action', 'reward')
_TOOL = 'python -m serl.tools.convert_data'


class Fields(NamedTuple):
  """What is read of a step beside its numbers: paths of arrays."""

  chosen: list[str]  # of the observation and of the action, in their order
  extras: list[str]
  stacked: list[str]  # those chosen that are a stack of one frame


def open_builder(folder: pathlib.Path) -> Any:
  """Returns the builder of the data set in `folder`.

  Tensorflow-datasets imports the classes of features by the names that stand in
  the data set; only its own are let through.

  Raises:
    FileError: a feature is of another package, or something in the folder is
      no file, such as a pipe, which would be waited for.
  """
  for path in folder.iterdir():
    if not path.is_file() and not path.is_dir():
      raise files.FileError(f'{path}: no regular file, expected one')
  described = json.loads((folder / 'features.json').read_text())
  for name in _class_names(described):
    if not name.startswith('tensorflow_datasets.'):
      raise files.FileError(
        f'{folder}: a feature of the class {name}, expected only those of '
        'tensorflow_datasets: code of others is not run, write the data set '
        'with features of that package'
      )
  return tfds.builder_from_directory(folder)


def demand_steps(folder: pathlib.Path, features: Any) -> Any:
  """Returns the features of a step.

  Raises:
    FileError: there are none, or some are missing.
  """
  names = features if isinstance(features, tfds.features.FeaturesDict) else {}
  if 'steps' not in names or not isinstance(
    features['steps'], tfds.features.Dataset
  ):
    raise files.FileError(
      f'{folder}: no data set of steps among {", ".join(names)}; expected the '
      'episodes of RLDS'
    )
  steps = features['steps'].feature
  missing = [name for name in _NEEDED if name not in steps]
  if missing:
    raise files.FileError(
      f'{folder}: no {", ".join(missing)} among {", ".join(steps)}; expected '
      'the steps of RLDS'
    )
  return steps


def choose(
  folder: pathlib.Path, steps: Any, choice: fields_lib.Choice
) -> Fields:
  """Returns what is to be read of the steps of others; logs what is left out.

  Raises:
    FileError: what is left cannot be learned from, or a field is not there.
  """
  fields = leaves({'observation': steps['observation']})
  fields.update(leaves({'action': steps['action']}))
  extras = leaves({'extras': steps['extras']}) if 'extras' in steps else {}
  numeric = [p for p, leaf in extras.items() if '/' in p and _is_fixed(leaf)]
  others = [n for n in steps if n not in (*_NEEDED, *_NUMBERS, 'extras')]
  others += [path for path in extras if path not in numeric]
  try:
    chosen = fields_lib.choose(list(fields), choice, others)
  except files.FileError as error:
    raise files.FileError(f'{folder}: {error}') from error
  problems = [
    f'{path} is {_show(fields[path])}, expected numbers or an image'
    + (f': leave it out, --drop={path}' if '/' in path else '')
    for path in chosen
    if not _is_numeric(fields[path])
  ]
  action = [path for path in chosen if path.startswith('action/')]
  is_named = any(fields_lib.is_within(n, 'action') for n in choice.keep)
  if len(action) > 1 and not is_named:
    shown = ', '.join(f'{path} ({_show(fields[path])})' for path in action)
    parts = ','.join(path for path in action if _is_numeric(fields[path]))
    problems.append(
      f'the action is a dict of {shown}, expected one vector: name its parts '
      f'in their order, --keep={parts}'
    )
  if problems:
    raise files.FileError(
      f'{folder}: not all fields can be learned from; choose by options of '
      f'{_TOOL}:\n  ' + '\n  '.join(problems)
    )
  if others:
    logging.warning(
      '%s: steps also have %s; left out.', folder, ', '.join(sorted(others))
    )
  if not {'is_terminal', 'discount'} & set(steps):
    logging.warning(
      '%s: no is_terminal and no discount: every end of an episode is taken '
      'for a time limit, and bootstrapped from.',
      folder,
    )
  stacked = [
    path
    for path in chosen
    if len(fields[path].shape) > 1 and fields[path].shape[0] == 1
  ]
  return Fields(chosen, numeric, stacked)


def leaves(features: Any) -> dict[str, Any]:
  """Returns the features that are no dicts by their paths, sorted."""
  found = {}
  for name, feature in sorted(features.items()):
    if isinstance(feature, tfds.features.FeaturesDict):
      inner = leaves(feature)
      found.update({f'{name}/{path}': leaf for path, leaf in inner.items()})
    else:
      found[name] = feature
  return found


def decoders(steps: Any, decoded: Iterable[str]) -> Any:
  """Returns what keeps all images but the `decoded` from being decoded."""
  decoded = set(decoded)
  return specs.unflatten(
    {
      f'steps/{path}': tfds.decode.SkipDecoding()
      for path, leaf in leaves(steps).items()
      if isinstance(leaf, tfds.features.Image) and path not in decoded
    }
  )


def _class_names(described: Any) -> Iterable[str]:
  """Yields the names of classes anywhere in a features.json."""
  if isinstance(described, list):
    for value in described:
      yield from _class_names(value)
  elif isinstance(described, Mapping):
    for key, value in described.items():
      is_name = key in ('pythonClassName', 'python_class_name', 'type')
      if is_name and isinstance(value, str):
        yield value
      # Features without a message of their own are JSON within the JSON.
      elif key in ('json', 'content') and isinstance(value, str):
        yield from _class_names(json.loads(value))
      else:
        yield from _class_names(value)


def _is_numeric(feature: Any) -> bool:
  """Returns whether it has numbers, of whatever shape."""
  return (
    not isinstance(feature.shape, Mapping)
    and np.dtype(feature.np_dtype).kind in 'bfiu'
  )


def _is_fixed(feature: Any) -> bool:
  return _is_numeric(feature) and None not in feature.shape


def _show(feature: Any) -> str:
  if isinstance(feature.shape, Mapping):
    return f'a sequence of {", ".join(feature.shape)}'
  if not _is_numeric(feature):
    return 'text' if not feature.shape else f'text {list(feature.shape)}'
  shape = ['any' if size is None else size for size in feature.shape]
  return f'{np.dtype(feature.np_dtype).name} {shape}'.replace("'", '')
