"""Reads the parameters out of a checkpoint of flax, without flax.

`flax.training.checkpoints.save_checkpoint` writes `checkpoint_STEP`: by itself
a file of msgpack; with orbax, since flax 0.7, a folder. Up to orbax 0.5 that
folder holds the same msgpack in a file `checkpoint`.

Nothing of a checkpoint is run. Its msgpack may hold maps, text, numbers and
arrays; whatever else is refused, and only the parameters are decoded.
"""

from collections.abc import Mapping, Sequence
import math
import os
import pathlib
import re
from typing import Any

import jax
import jax.numpy as jnp
import msgpack
import numpy as np
import orbax.checkpoint as ocp

from serl import specs
from serl.utils import regular_file
from serl.utils import unpacking

_PARAMS = 'params'
_NAME = re.compile(r'checkpoint_(\d+)')
# In a folder that orbax wrote: the whole tree, or what describes it.
_WHOLE_TREE = 'checkpoint'
_METADATA = '_METADATA'

# Flax's extension types of msgpack: (shape, name of the dtype, bytes).
_ARRAY, _SCALAR = 1, 3
_DTYPES = {
  name.encode(): np.dtype(name)
  for name in (
    *('bool', 'int8', 'int16', 'int32', 'int64'),
    *('uint8', 'uint16', 'uint32', 'uint64', 'float16', 'float32', 'float64'),
  )
} | {b'bfloat16': np.dtype(jnp.bfloat16)}
# An array of over 1 GiB is a map of its shape and its parts.
_CHUNKED = '__msgpack_chunked_array__'

# What a decoded object may hold, so that a few bytes cannot ask for more.
_MAX_ENTRIES = 10_000  # in a map
_MAX_VALUES = 100_000  # in all maps
_MAX_AXES = 32
_MAX_DEPTH = 32


# What msgpack, numpy and orbax raise when bytes of a checkpoint are wrong.
_DAMAGES = (
  msgpack.UnpackException,
  AttributeError,
  AssertionError,
  LookupError,
  MemoryError,
  OverflowError,
  RuntimeError,
  TypeError,
  ValueError,
)


class FlaxCheckpointError(ValueError):
  """What is no checkpoint of flax, is torn, or holds no parameters."""


def load_params(path: str | os.PathLike) -> dict[str, np.ndarray]:
  """Returns the parameters of a train state by their 'module/array' names.

  Args:
    path: of a checkpoint, or of the folder that it is in: then the last is
      read.

  Raises:
    FileNotFoundError: there is none.
    FlaxCheckpointError: it is another file or a torn one, or it holds no
      parameters.
  """
  found = _find(pathlib.Path(path).expanduser().absolute())
  params = _read_folder(found) if found.is_dir() else _read_file(found)
  leaves = specs.flatten(params)
  for name, leaf in leaves.items():
    if not isinstance(leaf, np.ndarray):
      raise FlaxCheckpointError(
        f'{found}: {name or _PARAMS} is {str(leaf)[:60]!r}, expected an array; '
        'what several processes wrote is not in one place: save it from one.'
      )
  return leaves


def _find(path: pathlib.Path) -> pathlib.Path:
  """Returns the file of msgpack or orbax's folder that `path` leads to."""
  if not path.exists():
    raise FileNotFoundError(
      f'There is no {path}, expected a checkpoint_STEP that flax wrote, or the '
      'folder that it is in.'
    )
  if not path.is_dir():
    return path
  if (path / _WHOLE_TREE).is_file():
    return path / _WHOLE_TREE
  if (path / _METADATA).is_file():
    return path
  steps = {
    int(match[1]): entry
    for entry in path.iterdir()
    if (match := _NAME.fullmatch(entry.name))
  }
  if not steps:
    raise FlaxCheckpointError(
      f'{path} holds {sorted(p.name for p in path.iterdir())[:5]}, expected '
      f'checkpoint_STEP, or {_METADATA} of an orbax checkpoint; give what '
      "flax's save_checkpoint wrote, whole."
    )
  last = steps[max(steps)]
  # One that is torn must not lead into itself.
  if last.is_dir() and not (last / _WHOLE_TREE).is_file():
    return last
  return _find(last)


def _read_folder(path: pathlib.Path) -> Any:
  """Returns the tree of parameters in orbax's folder."""
  size = regular_file.check_folder(path)
  with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
    try:
      described = checkpointer.metadata(path).item_metadata
      if described is None:
        raise ValueError(f'no array is described by its {_METADATA}')
      tree = described.tree
      if _PARAMS in tree:
        wanted = {_PARAMS: tree[_PARAMS]}
        _demand_size(path, wanted, size)
        # As numpy: where they were, on a GPU, may not be here.
        kinds = jax.tree.map(
          lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted
        )
        restore = ocp.args.PyTreeRestore(
          wanted, restore_args=kinds, partial_restore=True
        )
        return checkpointer.restore(path, args=restore)[_PARAMS]
    except FlaxCheckpointError:
      raise
    except (OSError, *_DAMAGES) as error:
      raise _damaged(path, error) from error
  raise _without_params(path, tree)


def _read_file(path: pathlib.Path) -> Any:
  """Returns the tree of parameters in a file of msgpack."""
  with regular_file.open_bytes(path) as file:
    size = os.fstat(file.fileno()).st_size
    unpacker = msgpack.Unpacker(
      file,
      ext_hook=_decode,
      object_pairs_hook=_Counter(),
      max_buffer_size=max(1, size),
      max_map_len=_MAX_ENTRIES,
      # Flax has none: it makes maps of tuples.
      max_array_len=0,
    )
    found: dict[str, Any] = {}
    try:
      for _ in range(unpacker.read_map_header()):
        key = str(unpacker.unpack())
        if key == _PARAMS:
          found[key] = _join(unpacker.unpack())
        else:
          found[key] = unpacker.skip()
    except _DAMAGES as error:
      raise _damaged(path, error) from error
    if unpacker.tell() != size:
      raise _damaged(path, f'it ends before byte {unpacker.tell()}')
  if _PARAMS not in found:
    raise _without_params(path, found)
  return found[_PARAMS]


def _demand_size(path: pathlib.Path, tree: Any, size: int) -> None:
  """Refuses arrays that are larger than a folder of `size` bytes may hold."""
  described = sum(
    math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize
    for leaf in jax.tree.leaves(tree)
    if hasattr(leaf, 'shape') and leaf.shape is not None
  )
  if described > unpacking.limit(size):
    raise _damaged(
      path, f'it describes arrays of {described} bytes and has {size}'
    )


class _Counter:
  """Makes the maps of a file, up to a number of values."""

  def __init__(self):
    self._values = 0

  def __call__(self, pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
    self._values += 1 + len(pairs)
    if self._values > _MAX_VALUES:
      raise ValueError(f'it holds more than {_MAX_VALUES} values')
    return dict(pairs)


def _decode(code: int, data: bytes) -> np.ndarray:
  """Returns the array of an extension of msgpack."""
  if code not in (_ARRAY, _SCALAR):
    raise ValueError(f'it holds the extension type {code}, which is refused')
  shape, dtype, content = msgpack.unpackb(
    data, raw=True, max_array_len=_MAX_AXES, max_map_len=0
  )
  if dtype not in _DTYPES:
    raise ValueError(f'an array is of the dtype {dtype}, which is refused')
  return np.frombuffer(content, _DTYPES[dtype]).reshape(shape)


def _join(node: Any, depth: int = 0) -> Any:
  """Returns a tree with its arrays in one piece."""
  if depth > _MAX_DEPTH:
    raise ValueError(f'it is nested deeper than {_MAX_DEPTH} maps')
  if not isinstance(node, dict):
    return node
  if _CHUNKED not in node:
    return {key: _join(value, depth + 1) for key, value in node.items()}
  shape, chunks = (
    [node[key][str(i)] for i in range(len(node[key]))]
    for key in ('shape', 'chunks')
  )
  return np.concatenate(chunks).reshape(shape)


def _damaged(
  path: pathlib.Path, reason: Exception | str
) -> FlaxCheckpointError:
  if isinstance(reason, Exception):
    # Orbax reports pages of paths.
    line = str(reason).strip().partition('\n')[0][:200]
    reason = f'{type(reason).__name__}{line and ": "}{line}'
  return FlaxCheckpointError(
    f'{path}: torn, or no checkpoint of flax ({reason}); copy it again, whole, '
    'from where flax wrote it.'
  )


def _without_params(
  path: pathlib.Path, tree: Mapping[str, Any]
) -> FlaxCheckpointError:
  return FlaxCheckpointError(
    f'{path} holds {sorted(tree)[:5]}, expected {_PARAMS!r} among them: give '
    'the checkpoint of a train state.'
  )
