"""Ends a process whose environment does not return.

A renderer, a camera or a robot's driver may block for ever. A thread of its own
notices it, names the call, and ends the run with it.
"""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import faulthandler
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

from absl import logging
import dm_env
import numpy as np

from serl import configs
from serl.environments.wrappers import base
from serl.teleop import keyboard

_POLL_S = 0.25
_TOLD_S = 45.0  # after which a call is reported, whatever its limit is
_FIRST = 2.0  # times the limit for the first step, which may compile
_MAKING_S = 180.0  # the least limit of an environment's construction
_GRACE_S = 5.0  # for an interrupted call to return, and for a close after it
_SIGNAL = signal.SIGUSR1


class HungError(RuntimeError):
  """A call of the environment has not returned in its time."""


@dataclasses.dataclass(frozen=True)
class Limits:
  """After how long a call counts as hung, s; None waits for ever.

  Fields:
    step: of a step or a picture.
    reset: of a reset, in which an arm may move its joints.
  """

  step: configs.Seconds | None = 45.0
  reset: configs.Seconds | None = 45.0

  __post_init__ = configs.check


@dataclasses.dataclass
class _Call:
  what: str
  limit_s: float | None
  seconds: float = 0.0  # in which this process has run
  told: bool = False


class Watchdog:
  """Watches the calls of one thread, by default of the main one.

  A call that is over its limit is interrupted by a `HungError`. Where that does
  not end the call, as in a library of C, the process is ended.
  """

  def __init__(
    self,
    node: str,
    limits: Limits,
    tell: Callable[[str], None] = lambda text: None,
  ):
    """Initialises the watchdog; nothing is watched before it is entered.

    Args:
      node: that the calls are reported for.
      limits: of the calls.
      tell: called with a report, and with '' if the call has returned after
        all; from the watchdog's thread.
    """
    self._node = node
    self._limits = limits
    self._tell = tell
    self._call: _Call | None = None
    self._hung: _Call | None = None  # the call that is interrupted
    self._has_hung = False
    self._closed = threading.Event()
    self._before: Any = None
    self._give_terminal_back: Callable[[], None] = lambda: None
    self._thread = threading.Thread(
      target=self._run, name='watchdog', daemon=True
    )

  def __enter__(self) -> 'Watchdog':
    if threading.current_thread() is threading.main_thread():
      self._before = signal.signal(_SIGNAL, self._raise)
    self._give_terminal_back = keyboard.remember_terminal()
    self._thread.start()
    return self

  def __exit__(self, *_) -> None:
    self._closed.set()
    if self._before is not None:
      signal.signal(_SIGNAL, self._before)

  def make(
    self, make_environment: Callable[[int], dm_env.Environment], seed: int
  ) -> dm_env.Environment:
    """Returns an environment that is watched from its construction on."""
    limit = self._limits.reset
    limit = None if limit is None else max(limit, _MAKING_S)
    with self.watching('the construction of the environment', limit):
      environment = make_environment(seed)
    return _Watched(environment, self, self._limits)

  @property
  def close_limit_s(self) -> float | None:
    """How long closing an environment may take."""
    return _GRACE_S if self._has_hung else self._limits.reset

  @contextlib.contextmanager
  def watching(self, what: str, limit_s: float | None) -> Iterator[None]:
    """Watches what is called inside.

    Args:
      what: is called, for the report.
      limit_s: after which it counts as hung; None waits for ever.

    Raises:
      HungError: it does.
    """
    before, self._call = self._call, _Call(what, limit_s)
    try:
      yield
    finally:
      self._call = before

  def _run(self) -> None:
    told, last = None, time.monotonic()
    while not self._closed.wait(_POLL_S):
      now = time.monotonic()
      # A process that was stopped meanwhile has not waited for the call.
      passed, last = min(now - last, 2 * _POLL_S), now
      call = self._call
      if told is not None and call is not told:
        told = None
        self._tell('')
      if call is None:
        continue
      call.seconds += passed
      is_hung = call.limit_s is not None and call.seconds >= call.limit_s
      if not call.told and (is_hung or call.seconds >= _TOLD_S):
        call.told, told = True, call
        text = self._describe(call)
        logging.error('%s: %s', self._node, text)
        self._tell(text)
      if is_hung:
        self._end(call)

  def _end(self, call: _Call) -> None:
    """Interrupts a call, or else ends the process."""
    self._hung, self._has_hung = call, True
    if self._before is not None:
      signal.pthread_kill(threading.main_thread().ident, _SIGNAL)
      deadline = time.monotonic() + _GRACE_S
      while time.monotonic() < deadline:
        if self._call is not call:
          return
        time.sleep(_POLL_S)
    faulthandler.dump_traceback(all_threads=True)
    logging.error('%s: %s. Ended.', self._node, self._describe(call))
    logging.flush()
    sys.stdout.flush()
    sys.stderr.flush()
    # A person's keys may have been read from it.
    self._give_terminal_back()
    os._exit(1)

  def _raise(self, number: int, frame: FrameType | None) -> None:
    del number, frame
    hung, self._hung = self._hung, None
    if hung is not None and self._call is hung:
      raise HungError(
        f'{self._node}: {self._describe(hung)}, expected it within '
        f'{hung.limit_s:g} s. Look at the traceback for where it waits; a '
        'longer time is set by step_limit_s and reset_limit_s of the run '
        '(--step-limit, --reset-limit).'
      )

  def _describe(self, call: _Call) -> str:
    return f'{call.what} has not returned for {call.seconds:.0f} s'


class _Watched(base.EnvironmentWrapper):
  """Has a watchdog watch the calls that may block."""

  def __init__(
    self, environment: dm_env.Environment, watchdog: Watchdog, limits: Limits
  ):
    super().__init__(environment)
    self._watchdog = watchdog
    self._limits = limits
    self._factor = _FIRST

  def __getattr__(self, name: str) -> Any:
    value = super().__getattr__(name)
    if name != 'render':
      return value

    def render(*args: Any, **kwargs: Any) -> np.ndarray:
      with self._watchdog.watching('environment.render', self._step_limit()):
        return value(*args, **kwargs)

    return render

  def reset(self) -> dm_env.TimeStep:
    with self._watchdog.watching('environment.reset', self._limits.reset):
      return super().reset()

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    with self._watchdog.watching('environment.step', self._step_limit()):
      timestep = super().step(action)
    self._factor = 1.0
    return timestep

  def close(self) -> None:
    limit = self._watchdog.close_limit_s
    with self._watchdog.watching('environment.close', limit):
      super().close()

  def _step_limit(self) -> float | None:
    limit = self._limits.step
    return None if limit is None else self._factor * limit
