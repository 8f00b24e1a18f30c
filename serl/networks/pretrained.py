"""Weights of a pretrained ResNet-10, from the files that SERL's are in."""

from collections.abc import Mapping
import pathlib
import re

from absl import logging
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from serl import specs
from serl import types
from serl.networks import resnet
from serl.utils import regular_file
from serl.utils import restricted_pickle

# What to do without the file; ends the error that says that it is absent.
WHERE = (
  'SERL publishes the weights as resnet10_params.pkl, in the release resnet10 '
  'of https://github.com/rail-berkeley/serl: download the file and give its '
  "path. To train without it take an encoder of kind 'small', or 'resnet10', "
  'which is trained with the agent.'
)

_MAX_VALUES = 10_000  # in a pickle; a ResNet-10 has some 60 arrays


def load(path: str) -> types.Params:
  """Returns the parameters of `resnet.ResNet10` from a file.

  Args:
    path: of SERL's .pkl, which is read without running what stands in it, or of
      the .safetensors that `serl.tools.convert_weights` makes of it.

  Raises:
    FileNotFoundError: if there is no such file, saying where to get it.
    pickle.UnpicklingError: if a .pkl holds more than arrays.
    ValueError: if it is no such file or not of a ResNet-10.
  """
  return from_arrays(read_arrays(path), path)


def find(path: str) -> pathlib.Path:
  """Returns `path` as one that is there.

  Raises:
    FileNotFoundError: if it is not, saying where to get the file.
  """
  found = pathlib.Path(path).expanduser()
  if not found.exists():
    raise FileNotFoundError(f'There is no file of weights {path}. {WHERE}')
  regular_file.check(found)
  return found


def read_arrays(path: str) -> dict[str, np.ndarray]:
  """Returns the arrays of a file by their 'block/layer/array' names.

  Raises:
    See `load`.
  """
  found = find(path)
  try:
    if found.suffix == '.pkl':
      return specs.flatten(restricted_pickle.load(found, _MAX_VALUES))
    if found.suffix == '.safetensors':
      regular_file.check(found)
      return safetensors.numpy.load_file(found)
  # A dict with numbers among its names or that holds itself, a dtype that numpy
  # has not.
  except (
    safetensors.SafetensorError,
    AttributeError,
    RecursionError,
    TypeError,
  ) as error:
    raise ValueError(f'Cannot read {path}: {error}') from error
  raise ValueError(
    f'The weights {path} end in {found.suffix!r}, expected .pkl or '
    '.safetensors.'
  )


def from_arrays(arrays: Mapping[str, np.ndarray], path: str) -> types.Params:
  """Returns the parameters that arrays with SERL's names stand for.

  Args:
    arrays: as `read_arrays` returns them; what the trunk has no use for is
      logged and left out.
    path: where they are from, for errors.

  Raises:
    ValueError: if one is missing or has another shape.
  """
  params: dict[str, dict[str, jax.Array]] = {}
  wrong = []
  expected = expected_arrays()
  for name, (module, parameter, shape) in expected.items():
    array = arrays.get(name)
    if array is None:
      wrong.append(f'{name} is missing')
    elif not isinstance(array, np.ndarray):
      wrong.append(f'{name} is a {type(array).__name__}, expected an array')
    elif np.shape(array) != shape or array.dtype.kind != 'f':
      wrong.append(
        f'{name} is {np.shape(array)} of {array.dtype}, expected {shape} of '
        'floats'
      )
    elif not np.isfinite(array).all():
      wrong.append(f'{name} holds NaN or infinity')
    else:
      parameters = params.setdefault(module, {})
      parameters[parameter] = jnp.asarray(array, jnp.float32)
  if wrong:
    more = f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''
    raise ValueError(
      f'{path} is not of a ResNet-10: {"; ".join(wrong[:3])}{more}. {WHERE}'
    )
  if unused := sorted(arrays.keys() - expected.keys()):
    logging.info('%s also holds %s, which is not used.', path, unused)
  return params


def expected_arrays() -> dict[str, tuple[str, str, tuple[int, ...]]]:
  """Returns module, parameter and shape in this code by SERL's names."""
  trunk = hk.transform(lambda x: resnet.ResNet10()(x))
  shapes = jax.eval_shape(
    trunk.init, jax.random.PRNGKey(0), jnp.zeros((1, 32, 32, 3))
  )
  return {
    _serls_name(module, parameter): (module, parameter, leaf.shape)
    for module, parameters in shapes.items()
    for parameter, leaf in parameters.items()
  }


def _serls_name(module: str, parameter: str) -> str:
  """Returns the name by which SERL's files have a parameter."""
  path = module.split('/', 1)[1]
  for ours, theirs in (
    (r'^block_', 'ResNetBlock_'),
    (r'/conv_(\d)', r'/Conv_\1'),
    (r'/norm_(\d)', r'/MyGroupNorm_\1'),
  ):
    path = re.sub(ours, theirs, path)
  names = {'w': 'kernel', 'offset': 'bias', 'scale': 'scale'}
  return f'{path}/{names[parameter]}'
