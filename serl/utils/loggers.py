"""Where a node's metrics go: JSON lines, TensorBoard, Weights & Biases."""

from collections.abc import Iterator, Mapping, Sequence
import contextlib
import hashlib
import json
import math
import os
import pathlib
import time
from typing import Any, Protocol

from absl import logging
import numpy as np

from serl import types
from serl.utils import tail

_NOT_FINITE = ('NaN', 'Infinity', '-Infinity')  # as JSON has to hold them
_TEXTS = ('divergence', 'fault')  # metrics that are texts, in JSON lines alone


class Logger(Protocol):
  """Takes records of scalars."""

  def write(self, metrics: types.Metrics) -> None:
    """Writes one record."""

  def close(self) -> None:
    """Writes what is pending and releases what is held."""


class JsonLinesLogger:
  """Appends every record to a file, as one line of JSON that is flushed.

  Adds 'time' (Unix seconds) and 'elapsed' (seconds). JSON has no NaN and no
  infinity: they are written as the strings 'NaN', 'Infinity', '-Infinity'.
  """

  def __init__(self, path: str | os.PathLike, origin: float | None = None):
    """Opens the file, making its folder where there is none.

    Args:
      path: of the file; what is in it stays.
      origin: the Unix time at which 'elapsed' is 0; by default it is now.
    """
    self._origin = time.time() if origin is None else origin
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    self._file = open(path, 'ab')  # noqa: SIM115 (open as long as the node runs)
    # A line that a killed process left unfinished would spoil the next one.
    size = path.stat().st_size
    if size:
      with open(path, 'rb') as written:
        written.seek(size - 1)
        if written.read(1) != b'\n':
          self._file.write(b'\n')
          self._file.flush()

  def write(self, metrics: types.Metrics) -> None:
    """Appends one line."""
    now = time.time()
    record = {'time': now, 'elapsed': now - self._origin, **scalars(metrics)}
    texts = {key: str(metrics[key]) for key in _TEXTS if key in metrics}
    line = json.dumps(
      {key: _to_json(value) for key, value in record.items()} | texts
    )
    self._file.write(line.encode() + b'\n')
    self._file.flush()

  def close(self) -> None:
    """Closes the file."""
    self._file.close()


class TensorBoardLogger:
  """Writes TensorBoard event files."""

  def __init__(
    self, folder: str | os.PathLike, step_name: str = 'learner_steps'
  ):
    """Opens a new event file.

    Args:
      folder: of the event files.
      step_name: the metric to draw the others against.
    """
    # Slow to import, and of no use to who only reads metrics.
    import tensorboardX

    self._writer = tensorboardX.SummaryWriter(str(folder), flush_secs=10)
    self._step_name = step_name

  def write(self, metrics: types.Metrics) -> None:
    """Writes one point for each metric."""
    values = scalars(metrics)
    step = int(values.pop(self._step_name, 0))
    for name, value in values.items():
      # As an array: tensorboardX makes a deprecated one of a number.
      self._writer.add_scalar(name, np.asarray(value), step)

  def close(self) -> None:
    """Writes what is pending."""
    self._writer.close()


class WandbLogger:
  """Sends records to Weights & Biases; needs the package wandb."""

  def __init__(self, run_dir: str | os.PathLike, node: str):
    """Opens a wandb run of this node; the nodes of a run form a group.

    Args:
      run_dir: the run's folder, whose name becomes the group's.
      node: who logs, such as 'learner'.

    Raises:
      ImportError: wandb is not installed.
    """
    try:
      import wandb
    except ImportError as error:
      raise ImportError(
        'logging to Weights & Biases needs the package wandb, which is not '
        'installed; install it or run without wandb'
      ) from error

    run_dir = pathlib.Path(run_dir).absolute()
    self._run = wandb.init(
      project='serl',
      group=run_dir.name,
      name=f'{run_dir.name}/{node}',
      # Folders elsewhere may have the same name.
      id=f'{run_dir.name}-{hashlib.sha256(bytes(run_dir)).hexdigest()[:8]}-{node}',
      resume='allow',
      dir=str(run_dir),
    )

  def write(self, metrics: types.Metrics) -> None:
    """Sends one record."""
    self._run.log(scalars(metrics))

  def close(self) -> None:
    """Sends what is pending."""
    self._run.finish()


class Dispatcher:
  """Writes every record to several loggers."""

  def __init__(self, loggers: Sequence[Logger]):
    """Initialises the dispatcher; it closes `loggers` when it is closed."""
    self._loggers = tuple(loggers)

  def write(self, metrics: types.Metrics) -> None:
    """Writes one record to each."""
    for logger in self._loggers:
      logger.write(metrics)

  def close(self) -> None:
    """Closes each."""
    for logger in self._loggers:
      logger.close()


class TimeLimited:
  """Passes at most one record in some seconds on, and the last one of all."""

  def __init__(self, logger: Logger, seconds: float):
    """Initialises the filter.

    Args:
      logger: gets what passes; it is closed with the filter.
      seconds: between two records.

    Raises:
      ValueError: they are not positive and finite.
    """
    if not 0 < seconds < math.inf:
      raise ValueError(f'seconds is {seconds!r}, expected positive and finite')
    self._logger = logger
    self._seconds = seconds
    self._written = -math.inf
    self._pending: types.Metrics | None = None

  def write(self, metrics: types.Metrics) -> None:
    """Passes the record on if it is time."""
    now = time.monotonic()
    if now - self._written < self._seconds:
      self._pending = metrics
      return
    self._written = now
    self._pending = None
    self._logger.write(metrics)

  def close(self) -> None:
    """Passes the last record on, so that the end of a run is always seen."""
    if self._pending is not None:
      self._logger.write(self._pending)
      self._pending = None
    self._logger.close()


def make_logger(
  run_dir: str | os.PathLike,
  node: str,
  wandb: bool = False,
  origin: float | None = None,
) -> Logger:
  """Returns the logger of a node: metrics/NODE.jsonl and tensorboard/NODE.

  Args:
    run_dir: the run's folder.
    node: who logs: 'learner', 'actor_0', 'evaluator'.
    wandb: whether to log to Weights & Biases too.
    origin: the Unix time at which 'elapsed' is 0; by default time goes on where
      the run's last record ended.
  """
  run_dir = pathlib.Path(run_dir)
  if origin is None:
    origin = time.time() - last_elapsed(run_dir)
  step_name = 'learner_steps' if node == 'learner' else 'env_steps'
  # The one that may be refused comes first, before any file is open.
  loggers: list[Logger] = [WandbLogger(run_dir, node)] if wandb else []
  loggers += [
    JsonLinesLogger(metrics_path(run_dir, node), origin),
    TensorBoardLogger(run_dir / 'tensorboard' / node, step_name),
  ]
  return Dispatcher(loggers)


@contextlib.contextmanager
def open_loggers(
  run_dir: str | os.PathLike, nodes: Sequence[str], wandb: bool = False
) -> Iterator[Mapping[str, Logger]]:
  """Gives the loggers of nodes; closes them whatever happens meanwhile.

  Args:
    run_dir: the run's folder.
    nodes: who log.
    wandb: see `make_logger`.
  """
  with contextlib.ExitStack() as opened:
    yield {
      node: opened.enter_context(
        contextlib.closing(make_logger(run_dir, node, wandb))
      )
      for node in nodes
    }


def metrics_path(run_dir: str | os.PathLike, node: str) -> pathlib.Path:
  """Returns where a node's JSON lines are."""
  return pathlib.Path(run_dir) / 'metrics' / f'{node}.jsonl'


def last_elapsed(run_dir: str | os.PathLike) -> float:
  """Returns the largest 'elapsed' that any node of the run has written."""
  ends = [0.0]
  for path in pathlib.Path(run_dir).glob('metrics/*.jsonl'):
    records = MetricsTail(path).poll()
    ends.extend(record.get('elapsed', 0.0) for record in records[-1:])
  return max(end for end in ends if math.isfinite(end))


def read_metrics(
  run_dir: str | os.PathLike, node: str
) -> list[dict[str, float]]:
  """Returns the records of a node, none if it has not written yet."""
  return MetricsTail(metrics_path(run_dir, node)).poll()


class MetricsTail:
  """Follows a file of JSON lines that another process writes.

  Lines that a disk or a killed process spoilt are skipped and counted.
  """

  def __init__(self, path: str | os.PathLike):
    """Initialises the tail at the file's beginning; it need not exist yet."""
    self._path = pathlib.Path(path)
    self._tail = tail.Tail(path)
    self.skipped = 0  # lines that cannot be read

  def poll(self) -> list[dict[str, float]]:
    """Returns the records since the last call; an unfinished line waits."""
    records = [_from_json(line) for line in self._tail.poll()]
    skipped = records.count(None)
    if skipped:
      self.skipped += skipped
      logging.warning(
        '%s: %d of %d lines cannot be read and are skipped.',
        self._path,
        skipped,
        len(records),
      )
    return [record for record in records if record is not None]


def scalars(metrics: types.Metrics) -> dict[str, float]:
  """Returns metrics as Python numbers, whatever arrays they were.

  Texts are left out: only the JSON lines hold them.

  Raises:
    ValueError: a value is not a single number.
  """
  values = {}
  for name, value in metrics.items():
    if name in _TEXTS:
      continue
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in 'biuf':
      raise ValueError(
        f'metric {name!r} is {value!r} of shape {array.shape}; expected one '
        'number: reduce it before it is logged'
      )
    number = array.item()
    values[name] = number if array.dtype.kind in 'iu' else float(number)
  return values


def _to_json(value: float) -> float | str:
  if math.isfinite(value):
    return value
  return 'NaN' if math.isnan(value) else f'{"-" if value < 0 else ""}Infinity'


def _from_json(line: bytes) -> dict[str, Any] | None:
  """Returns the record of a line, None where it is none."""
  try:
    record = json.loads(line)
    return {
      name: float(value) if value in _NOT_FINITE else value
      for name, value in record.items()
      if isinstance(value, (int, float, str))
    }
  except (AttributeError, RecursionError, ValueError):
    return None
