"""A trained classifier as a file: safetensors with a header, never pickle.

The arrays carry their paths in the parameters as names. The file's metadata
hold one entry, 'serl', JSON:

    format       'serl-classifier'
    version      2
    images       shape and dtype of each image that it looks at
    network      every field of `NetworkConfig`; the encoder's weights, if they
                 are frozen, are not in the file but named by their sha256
    threshold    above which a probability counts as success
    report       numbers of `report.Report`
    digest       sha256 of all of that and of the arrays

Files of version 1 have no digest.
"""

from collections.abc import Callable, Mapping
import hashlib
import json
import os
import pathlib
from typing import Any, NamedTuple

from absl import logging
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from serl import specs
from serl import types
from serl.agents.classifier import config as classifier_config
from serl.agents.classifier import networks as classifier_networks
from serl.networks import encoders
from serl.utils import regular_file

FORMAT = 'serl-classifier'
VERSION = 2
_WITHOUT_DIGEST = 1  # the version before
SUFFIX = '.safetensors'
_HEADER = 'serl'
# Of the ROC curve on held-out episodes. A guess has 0.5.
LEAST_AREA = 0.9
_PARTS = {
  'images': dict,
  'network': dict,
  'threshold': (int, float),
  'report': dict,
}
# Of a network that somebody else describes, so that it is made in no time.
_MAX_PARTS = 16  # cameras, layers of an encoder
_MAX_SIDE = 4096  # pixels
_CONVERT = 'python -m serl.tools.convert_classifier IN OUT'


class ClassifierFileError(ValueError):
  """A file that is no classifier, or one for other images."""


class PoorClassifierError(ValueError):
  """A classifier whose own report shows that it tells no success."""


class Classifier(NamedTuple):
  """A trained classifier and all that is needed to use it."""

  config: classifier_config.NetworkConfig
  networks: classifier_networks.ClassifierNetworks
  params: classifier_networks.ClassifierParams
  threshold: float  # above it is success
  report: Mapping[str, Any] = {}

  def make_probability(self) -> Callable[[types.NestedArray], float]:
    """Makes the function of one observation, without batch axis, in [0, 1]."""
    return classifier_networks.make_probability(self.networks, self.params)


def weaknesses(report: Mapping[str, Any]) -> list[str]:
  """Returns why a classifier with this report is none to be rewarded by.

  Args:
    report: see `Classifier`. Without numbers, as that of an imported classifier
      is, it shows no weakness.
  """
  found = []
  area = report.get('area_under_curve')
  if area is not None and not area >= LEAST_AREA:
    found.append(
      f'the area under its ROC curve on held-out episodes is {area:.3f}, '
      f'expected {LEAST_AREA} or more; a guess has 0.5'
    )
  counts = report.get('confusion')
  if counts is not None and not counts['true_positives']:
    found.append(
      f'at its threshold {report["threshold"]:.4g} it finds none of '
      f'{counts["false_negatives"]} held-out successes, expected most'
    )
  return found


def save(
  path: str | os.PathLike, classifier: Classifier, accept_poor: bool = False
) -> None:
  """Writes a classifier, whole or not at all; an old one is replaced.

  Args:
    path: of the file, ending in .safetensors; its folder is made.
    classifier: to write.
    accept_poor: write it whatever its report shows.

  Raises:
    PoorClassifierError: its report shows `weaknesses`.
    ValueError: the path has another ending.
  """
  path = pathlib.Path(path)
  if path.suffix != SUFFIX:
    raise ValueError(f'{path}: a classifier is called NAME{SUFFIX}.')
  found = weaknesses(classifier.report)
  if found and not accept_poor:
    raise PoorClassifierError(
      f'{path}: this classifier is not saved: {"; ".join(found)}. Are the '
      'labels right, and do its cameras see success? Train with more episodes '
      'or updates, or accept it as it is: see --help.'
    )
  header = {
    'format': FORMAT,
    'version': VERSION,
    'images': _describe_images(classifier.networks.image_spec),
    'network': classifier.config.describe(),
    'threshold': classifier.threshold,
    'report': dict(classifier.report),
  }
  leaves = jax.tree_util.tree_leaves_with_path(classifier.params)
  arrays = {_name(p): np.ascontiguousarray(leaf) for p, leaf in leaves}
  header['digest'] = _digest(header, arrays)
  content = safetensors.numpy.save(arrays, {_HEADER: json.dumps(header)})
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
  with open(temporary, 'wb') as file:
    file.write(content)
    file.flush()
    os.fsync(file.fileno())
  os.replace(temporary, path)


def load(
  path: str | os.PathLike,
  observation_spec: types.NestedSpec | None = None,
  weights: str | None = None,
) -> Classifier:
  """Reads a classifier.

  Args:
    path: of the file.
    observation_spec: of the environment to use it in; None for any.
    weights: file of the frozen encoder's weights, for one that has them.

  Raises:
    FileNotFoundError: there is no such file.
    ClassifierFileError: it is no classifier, is damaged, looks at images that
      are not in `observation_spec`, or was trained with other weights.
  """
  path = pathlib.Path(path)
  try:
    header, arrays = _read(path)
  except RecursionError as error:
    raise _damaged(
      path, f'its header is no JSON to be read, {error}'
    ) from error
  if observation_spec is not None:
    _check_images(path, header['images'], observation_spec)
  image_spec = {
    name: specs.Array(tuple(entry['shape']), np.dtype(entry['dtype']), name)
    for name, entry in header['images'].items()
  }
  try:
    config = _make_config(path, header['network'], weights)
    networks = classifier_networks.make_networks(image_spec, config)
    params = _unflatten(path, arrays, networks)
    found = weaknesses(header['report'])
  except ClassifierFileError:
    raise
  except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as e:
    reason = f'its header describes no classifier ({e!r:.200})'
    raise _damaged(path, reason) from e
  for weakness in found:
    logging.warning('%s: %s.', path, weakness)
  return Classifier(
    config, networks, params, header['threshold'], header['report']
  )


def _read(
  path: pathlib.Path,
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  if path.is_dir():
    raise ClassifierFileError(
      f'{path} is a folder, expected a classifier NAME{SUFFIX}. A folder of '
      "checkpoints is an agent's, which gives actions, not rewards, or a "
      f"classifier of SERL's: {_CONVERT}."
    )
  if not path.exists():
    raise FileNotFoundError(
      f'There is no classifier {path}; train one with '
      "examples/train_reward_classifier.py, or take one of SERL's: "
      f'{_CONVERT}.'
    )
  regular_file.check(path)
  try:
    with safetensors.safe_open(path, framework='np') as file:
      metadata = file.metadata() or {}
      names = file.keys()
      arrays = {name: file.get_tensor(name) for name in names}
  except (
    safetensors.SafetensorError,
    AttributeError,
    MemoryError,
    OverflowError,
    TypeError,
    ValueError,
  ) as error:
    raise ClassifierFileError(
      f'{path}: no safetensors or a damaged file ({error}), expected a '
      'classifier; train it again with examples/train_reward_classifier.py, or '
      f"if it is one of SERL's: {_CONVERT}."
    ) from error
  try:
    header = json.loads(metadata.get(_HEADER, '{}'))
  except ValueError as error:
    raise _damaged(path, f'its header is no JSON, {error}') from error
  if not isinstance(header, dict) or header.get('format') != FORMAT:
    raise ClassifierFileError(
      f'{path} holds {sorted(arrays)[:3]} and the header {str(header)[:50]!r}, '
      f'expected the format {FORMAT!r}: it holds the weights of something else.'
    )
  version = header.get('version')
  if version == _WITHOUT_DIGEST:
    logging.warning(
      '%s has no digest, as it is of version 1 of the format: a damage would '
      'not be seen.',
      path,
    )
  elif version != VERSION:
    raise ClassifierFileError(
      f'{path}: version {version!r} of the format, expected {VERSION}; update '
      'serl or train the classifier again.'
    )
  elif _digest(header, arrays) != header.get('digest'):
    raise _damaged(path, 'header and arrays are not those of its digest')
  _check_header(path, header)
  return header, arrays


def _digest(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
  """Returns the digest of all that a file holds beside it."""
  rest = {name: value for name, value in header.items() if name != 'digest'}
  digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
  for name in sorted(arrays):
    array = arrays[name]
    digest.update(f'{name} {array.dtype.name} {array.shape} '.encode())
    digest.update(array.tobytes())
  return digest.hexdigest()


def _check_header(path: pathlib.Path, header: Mapping[str, Any]) -> None:
  """Refuses a header from which no network is made, or an endless one."""
  for name, kind in _PARTS.items():
    if not isinstance(header.get(name), kind):
      raise _damaged(path, f'{name} is {header.get(name)!r:.50}')
  if not 0 <= header['threshold'] <= 1:
    raise _damaged(path, f'threshold is {header["threshold"]}')
  images, network = header['images'], header['network']
  if not 0 < len(images) <= _MAX_PARTS:
    raise _damaged(path, f'{len(images)} images')
  for name, entry in images.items():
    shape = entry.get('shape') if isinstance(entry, dict) else None
    sides = shape if isinstance(shape, list) else []
    if entry != {'shape': sides, 'dtype': 'uint8'} or not (
      len(sides) in (3, 4)
      and all(type(side) is int and 0 < side <= _MAX_SIDE for side in sides)
    ):
      raise _damaged(path, f'the image {name} is {entry!r:.50}')
  encoder = network.get('encoder')
  features = encoder.get('features') if isinstance(encoder, dict) else None
  if not isinstance(features, list) or len(features) > _MAX_PARTS:
    raise _damaged(path, f'its encoder is {encoder!r:.50}')


def _damaged(path: pathlib.Path, reason: str) -> ClassifierFileError:
  return ClassifierFileError(
    f'{path} is damaged: {reason}; copy it again from where it was trained, or '
    'train it again with examples/train_reward_classifier.py.'
  )


def _describe_images(image_spec: Mapping[str, specs.Array]) -> dict[str, Any]:
  return {
    path: {'shape': list(leaf.shape), 'dtype': np.dtype(leaf.dtype).name}
    for path, leaf in image_spec.items()
  }


def _check_images(
  path: pathlib.Path,
  expected: Mapping[str, Any],
  observation_spec: types.NestedSpec,
) -> None:
  leaves = specs.flatten(observation_spec)
  found = _describe_images({p: x for p, x in leaves.items() if p in expected})
  lines = specs.differences(found, expected)
  if lines:
    raise ClassifierFileError(
      f'{path}: it looks at other images than are observed, which are of '
      f'{sorted(leaves)}; train one for this environment, or observe what it '
      'was trained with:\n  ' + '\n  '.join(lines)
    )


def _make_config(
  path: pathlib.Path, described: Mapping[str, Any], weights: str | None
) -> classifier_config.NetworkConfig:
  encoder = dict(described['encoder'], features=None, weights=weights)
  encoder['features'] = tuple(described['encoder']['features'])
  frozen = described['encoder']['weights']
  if frozen is not None and weights is None:
    raise ClassifierFileError(
      f'{path}: it was trained on frozen weights of sha256 {frozen[:16]}..., '
      'which are not in the file; name their file as weights.'
    )
  config = encoders.EncoderConfig(**encoder)
  if config.describe()['weights'] != frozen:
    raise ClassifierFileError(
      f'{path}: it was trained on frozen weights of sha256 {frozen}, not on '
      f'those of {weights}; name the file that it was trained with.'
    )
  cameras = described['cameras']
  return classifier_config.NetworkConfig(
    **{
      **described,
      'cameras': None if cameras is None else tuple(cameras),
      'encoder': config,
    }
  )


def _unflatten(
  path: pathlib.Path,
  arrays: Mapping[str, np.ndarray],
  networks: classifier_networks.ClassifierNetworks,
) -> classifier_networks.ClassifierParams:
  expected = jax.eval_shape(
    lambda key: classifier_networks.init(networks, key), jax.random.PRNGKey(0)
  )
  leaves = jax.tree_util.tree_leaves_with_path(expected)
  lines = specs.differences(
    _describe_images(arrays),
    _describe_images({_name(p): leaf for p, leaf in leaves}),
  )
  if lines:
    raise ClassifierFileError(
      f'{path}: its arrays are not those of its header; train it again:\n  '
      + '\n  '.join(lines)
    )
  return jax.tree_util.tree_map_with_path(
    lambda p, leaf: jnp.asarray(arrays[_name(p)]), expected
  )


def _name(path: Any) -> str:
  return jax.tree_util.keystr(path)
