"""Checkpoints of a training state and its counters, by orbax."""

from collections.abc import Mapping
import errno
import os
import pathlib
import shutil
from typing import Any

from absl import logging
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from serl import specs

# Orbax tells each of its steps, at a level that is ours for the run's.
logging.get_absl_logger().addFilter(
  lambda record: (
    record.levelno > logging.converter.STANDARD_INFO
    if 'orbax' in record.pathname
    else True
  )
)

_TEMPORARY = '*.orbax-checkpoint-tmp*'


class CheckpointError(RuntimeError):
  """A checkpoint could not be written, or is of another training state."""


class Checkpointer:
  """The last checkpoints of a run, one folder a step.

  A checkpoint appears whole or not at all. Leaves are stored flat under their
  paths as numpy arrays, so that neither the classes of the training state nor
  the device it was on matter to a later reader.
  """

  def __init__(self, folder: str | os.PathLike, keep: int = 3):
    """Initialises the checkpointer; nothing is touched before it is used.

    Args:
      folder: of the checkpoints; one process writes to it, any may read.
      keep: how many of the last checkpoints stay.
    """
    self._folder = pathlib.Path(folder).absolute()
    self._keep = keep
    self._manager: ocp.CheckpointManager | None = None

  def save(self, step: int, state: Any, counters: Mapping[str, float]) -> None:
    """Saves `state` as the checkpoint of `step`, and returns when it is there.

    A checkpoint of this step that is there already stays as it is.

    Args:
      step: of the learner.
      state: a tree of arrays, none of them empty; it may be donated afterwards.
      counters: numbers to keep with it.

    Raises:
      CheckpointError: the folder is full or not writable; the checkpoints
        before are whole.
      ValueError: a leaf is empty; names it.
    """
    leaves = _flatten(state)
    items = ocp.args.Composite(
      state=ocp.args.StandardSave(leaves),
      counters=ocp.args.JsonSave(dict(counters)),
    )
    try:
      if self._manager is None:
        self._manager = self._open(writing=True)
      if step not in self._manager.all_steps():
        self._manager.save(step, args=items, force=True)
        self._manager.check_for_errors()
    except (OSError, ValueError) as error:
      self._manager = None
      size = sum(leaf.nbytes for leaf in leaves.values())
      raise CheckpointError(self._explain(step, size, error)) from error

  def restore_latest(
    self, template: Any
  ) -> tuple[int, Any, dict[str, float]] | None:
    """Returns the last checkpoint as `restore` does, None if there is none."""
    steps = self.steps()
    return self.restore(max(steps), template) if steps else None

  def steps(self) -> list[int]:
    """Returns the steps of the checkpoints that are there, ascending."""
    if not self._folder.is_dir():
      return []
    manager = self._open(writing=False)
    try:
      return sorted(manager.all_steps())
    finally:
      manager.close()

  def restore(
    self, step: int, template: Any
  ) -> tuple[int, Any, dict[str, float]]:
    """Returns the checkpoint of `step`.

    Args:
      step: of the learner.
      template: a tree of the structure, shapes and dtypes that were saved.

    Returns:
      The step, the state and the counters. The state's leaves are on the JAX
      device, or in numpy where those of the template are.

    Raises:
      FileNotFoundError: there is none of this step.
      CheckpointError: the state that was saved is another one than `template`.
    """
    steps = self.steps()
    if step not in steps:
      raise FileNotFoundError(
        f'{self._folder} holds no checkpoint of learner step {step}; it holds '
        f'those of {", ".join(map(str, steps)) or "none"}.'
      )
    manager = self._open(writing=False)
    try:
      items = ocp.args.Composite(
        state=ocp.args.StandardRestore(), counters=ocp.args.JsonRestore()
      )
      found = manager.restore(step, args=items)
    finally:
      manager.close()
    state = self._unflatten(step, found['state'], template)
    return step, state, dict(found['counters'])

  def _open(self, writing: bool) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(
      max_to_keep=self._keep,
      create=writing,
      # What a killed writer left; a reader must not take a living one's.
      cleanup_tmp_directories=writing,
      enable_async_checkpointing=False,
    )
    return ocp.CheckpointManager(self._folder, options=options)

  def _unflatten(
    self, step: int, saved: Mapping[str, Any], template: Any
  ) -> Any:
    expected = _describe(_paths(_raw_keys(template)))
    lines = specs.differences(_describe(saved), expected)
    if lines:
      raise CheckpointError(
        f'{self._folder / str(step)} holds another training state; resume it '
        'with the agent and environment that wrote it, or start a new run:\n  '
        + '\n  '.join(lines)
      )
    take = lambda path, leaf: _like(leaf, saved[jax.tree_util.keystr(path)])
    return jax.tree_util.tree_map_with_path(take, template)

  def _explain(self, step: int, size: int, error: Exception) -> str:
    parent = self._folder
    while not parent.exists():
      parent = parent.parent
    free = shutil.disk_usage(parent).free
    # What was begun takes the space that others need now.
    for temporary in self._folder.glob(_TEMPORARY):
      shutil.rmtree(temporary, ignore_errors=True)
    steps = [int(p.name) for p in self._folder.glob('*') if p.name.isdigit()]
    last = f'that of step {max(steps)} is whole' if steps else 'there is none'
    return (
      f'cannot write checkpoint {step} ({size / 2**20:.1f} MiB) to '
      f'{self._folder}: {_reason(error)}; {free / 2**20:.1f} MiB were free. Of '
      f'those before, {last}. Free space or make the folder writable, then run '
      'the same command to resume'
    )


def _reason(error: Exception) -> str:
  """Returns the reason alone: orbax reports pages of paths."""
  numbers = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS)
  for text in map(os.strerror, numbers):
    if text in str(error):
      return text
  lines = str(error).splitlines() or ['']
  return f'{type(error).__name__}: {lines[0][:200]}'


def _raw_keys(state: Any) -> Any:
  """Returns `state` with the integers of its random keys in their place."""
  return jax.tree.map(
    lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, state
  )


def _is_key(leaf: Any) -> bool:
  dtype = getattr(leaf, 'dtype', None)
  return dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key)


def _paths(state: Any) -> dict[str, Any]:
  leaves, _ = jax.tree_util.tree_flatten_with_path(state)
  return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _flatten(state: Any) -> dict[str, np.ndarray]:
  # Copies: the arrays of a CPU are views of what may be donated meanwhile.
  leaves = _paths(_raw_keys(state))
  arrays = {path: np.array(leaf) for path, leaf in leaves.items()}
  for path, array in arrays.items():
    if not array.size:
      raise ValueError(
        f'{path} of the training state has shape {array.shape}; orbax saves no '
        'empty array: leave it out of the state'
      )
  return arrays


def _describe(leaves: Mapping[str, Any]) -> dict[str, Any]:
  return {
    path: {'shape': list(leaf.shape), 'dtype': np.dtype(leaf.dtype).name}
    for path, leaf in leaves.items()
  }


def _like(leaf: Any, saved: np.ndarray) -> Any:
  if isinstance(leaf, (np.ndarray, np.generic)):
    return np.asarray(saved)
  if _is_key(leaf):
    return jax.random.wrap_key_data(saved, impl=jax.random.key_impl(leaf))
  return jnp.array(saved)
