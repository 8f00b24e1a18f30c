"""Checkpoints of a training state and its counters, by orbax.

Beside the arrays stands one JSON record: the counters, the step, a digest of
each leaf (path, shape, dtype and bytes) and one of the record itself. A reader
compares them all, so that nothing which a disk has changed is used.
"""

from collections.abc import Mapping
import errno
import hashlib
import json
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
from serl.utils import damaged

# Orbax logs each of its steps, and of what it cannot read pages, beside the
# exceptions that are turned into sentences here.
logging.get_absl_logger().addFilter(
  lambda record: 'orbax' not in record.pathname
)

_TEMPORARY = '*.orbax-checkpoint-tmp*'


class CheckpointError(RuntimeError):
  """A checkpoint cannot be written or used."""


class DamagedError(CheckpointError):
  """A checkpoint is not what was saved, or no checkpoint of a folder is."""


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

    Raises:
      ValueError: none is to stay.
    """
    if not keep >= 1:
      raise ValueError(f'keep is {keep!r}, expected at least 1 checkpoint')
    self._folder = pathlib.Path(folder).absolute()
    self._keep = keep
    self._manager: ocp.CheckpointManager | None = None
    self._damaged: dict[int, str] = {}  # reasons by steps

  def save(self, step: int, state: Any, counters: Mapping[str, float]) -> None:
    """Saves `state` as the checkpoint of `step`, and returns when it is there.

    A checkpoint of this step that is there already stays as it is. Those that
    were found damaged are set aside first.

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
      counters=ocp.args.JsonSave(_make_record(step, leaves, counters)),
    )
    self.set_damaged_aside()
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
    """Returns the newest whole checkpoint as `restore` does, None without any.

    Newer ones that are damaged are logged as errors.

    Raises:
      DamagedError: there are checkpoints, but none is whole.
      CheckpointError: the state that was saved is another one than `template`.
    """
    found = self._read_newest()
    if found is None:
      return None
    step, leaves, counters = found
    return step, self._unflatten(step, leaves, template), counters

  def latest_counters(self) -> dict[str, float] | None:
    """Returns the counters of the newest whole checkpoint, None without any.

    Raises:
      DamagedError: there are checkpoints, but none is whole.
    """
    found = self._read_newest()
    return None if found is None else found[2]

  def steps(self) -> list[int]:
    """Returns the steps of the checkpoints that are there, ascending."""
    if not self._folder.is_dir():
      return []
    names = (path.name for path in self._folder.iterdir())
    return sorted(int(name) for name in names if name.isdecimal())

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
      DamagedError: it is not what was saved.
      CheckpointError: the state that was saved is another one than `template`.
    """
    steps = self.steps()
    if step not in steps:
      raise FileNotFoundError(
        f'{self._folder} holds no checkpoint of learner step {step}; it holds '
        f'those of {", ".join(map(str, steps)) or "none"}.'
      )
    leaves, counters = self._read(step)
    return step, self._unflatten(step, leaves, template), counters

  def set_damaged_aside(self) -> None:
    """Moves the checkpoints that were found damaged out of the way.

    Only the process that writes the checkpoints does this. They go to the
    folder `damaged` beside this one, see `damaged.set_aside`.
    """
    for step in list(self._damaged):
      path, reason = self._folder / str(step), self._damaged.pop(step)
      if path.exists():
        damaged.set_aside(path, self._folder.parent, reason)

  def _read_newest(
    self,
  ) -> tuple[int, dict[str, np.ndarray], dict[str, float]] | None:
    """Returns step, leaves and counters of the newest whole checkpoint."""
    reasons = []
    for step in reversed(self.steps()):
      try:
        leaves, counters = self._read(step)
      except DamagedError as error:
        if not (self._folder / str(step)).exists():
          return self._read_newest()  # its writer has replaced it meanwhile
        reasons.append(str(error))
        continue
      if reasons:
        logging.error(
          'DAMAGED: %s. That of step %d is whole and used instead.',
          '. '.join(reasons),
          step,
        )
      return step, leaves, counters
    if reasons:
      raise DamagedError(
        f'No checkpoint in {self._folder} is whole: {"; ".join(reasons)}. Copy '
        'a whole one back, or move the folder away: learning then begins anew '
        'with the episodes that are kept.'
      )
    return None

  def _read(self, step: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Returns the leaves and the counters of a checkpoint, verified."""

    def refuse(reason: str) -> DamagedError:
      self._damaged[step] = reason
      return DamagedError(
        f'{self._folder / str(step)} is damaged: {reason}, expected what was '
        'saved'
      )

    record = self._restore_item(step, counters=ocp.args.JsonRestore())
    if not record or not isinstance(record, dict):
      raise refuse('its counters cannot be read')
    counters, digests = record, None
    if not all(isinstance(n, (int, float)) for n in record.values()):
      if record != _make_record_of(record):
        raise refuse('its counters are not those of their digest')
      if record['step'] != step:
        raise refuse(f'it was saved as step {record["step"]}')
      counters, digests = record['counters'], record['leaves']
    leaves = self._restore_item(step, state=ocp.args.StandardRestore())
    if not isinstance(leaves, dict):
      raise refuse('its arrays cannot be read')
    if digests is None:
      logging.warning(
        '%s has no digest, as it is of an older version: a damage would not be '
        'seen.',
        self._folder / str(step),
      )
      return leaves, dict(counters)
    found = {path: _digest(leaf) for path, leaf in leaves.items()}
    if found != digests:
      paths = [
        path
        for path in sorted({*found, *digests})
        if found.get(path) != digests.get(path)
      ]
      raise refuse(f'{", ".join(paths[:3])} differs from its digest')
    return leaves, dict(counters)

  def _restore_item(self, step: int, **item: Any) -> Any:
    """Returns an item of a checkpoint, None where it cannot be read."""
    (name,) = item
    try:
      manager = self._open(writing=False)
      try:
        return manager.restore(step, args=ocp.args.Composite(**item))[name]
      finally:
        manager.close()
    # Orbax and tensorstore raise whatever damaged bytes lead them to.
    except Exception:  # noqa: BLE001
      logging.debug('%s of checkpoint %d', name, step, exc_info=True)
      return None

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


def _make_record(
  step: int, leaves: Mapping[str, np.ndarray], counters: Mapping[str, float]
) -> dict[str, Any]:
  """Returns what stands beside the arrays of a checkpoint."""
  return _make_record_of(
    {
      'step': int(step),
      'counters': dict(counters),
      'leaves': {path: _digest(leaf) for path, leaf in leaves.items()},
    }
  )


def _make_record_of(parts: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a record's parts with their digest."""
  named = {name: parts.get(name) for name in ('step', 'counters', 'leaves')}
  text = json.dumps(named, sort_keys=True)
  return {**named, 'digest': hashlib.sha256(text.encode()).hexdigest()}


def _digest(leaf: np.ndarray) -> str:
  leaf = np.asarray(leaf)
  digest = hashlib.sha256(f'{leaf.dtype.name} {leaf.shape} '.encode())
  digest.update(np.ascontiguousarray(leaf).tobytes())
  return digest.hexdigest()


def _like(leaf: Any, saved: np.ndarray) -> Any:
  if isinstance(leaf, (np.ndarray, np.generic)):
    return np.asarray(saved)
  if _is_key(leaf):
    return jax.random.wrap_key_data(saved, impl=jax.random.key_impl(leaf))
  return jnp.array(saved)
