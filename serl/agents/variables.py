"""Policy parameters that arrive in the background."""

from concurrent import futures
import math
import time
from typing import Any, NamedTuple

from absl import logging
import jax

from serl import core
from serl import types

# How often `wait` looks, at the least.
_POLL_S = 0.05


class FetchFailure(NamedTuple):
  """What went wrong with fetching, since the last fetch that worked."""

  error: BaseException  # the newest
  count: int  # fetches that failed in a row
  since: float  # time.monotonic() of the first of them


class VariableClient:
  """Fetches parameters in one background thread; `update` never blocks.

  A fetch that fails is logged, kept in `failure` and tried again a period
  later: an actor goes on with the parameters it has.
  """

  def __init__(self, source: core.VariableSource, period_s: float = 0.1):
    """Initialises the client.

    Args:
      source: serves the parameters, usually from another process. What it
        serves must stay as it is: a copy, not a learner's donated state.
      period_s: seconds from the start of a fetch to that of the next, at least;
        a fetch itself waits for something new.

    Raises:
      ValueError: the period is negative, infinite or NaN.
    """
    if not 0 <= period_s < math.inf:
      raise ValueError(f'period_s is {period_s!r}, expected at least 0 s')
    self._source = source
    self._period_s = period_s
    self._thread = futures.ThreadPoolExecutor(1, 'variables')
    self._pending: futures.Future | None = None
    self._started = -float('inf')
    self._published = time.monotonic()
    self._variables: core.Variables | None = None
    self._failure: FetchFailure | None = None

  @property
  def params(self) -> types.Params | None:
    """The newest parameters, on the device; None before the first."""
    return self._variables.params if self._variables else None

  @property
  def learner_steps(self) -> int | None:
    """The rounds the learner had done for `params`; None before the first."""
    return self._variables.learner_steps if self._variables else None

  @property
  def env_steps(self) -> int | None:
    """The environment steps behind `params`; None before the first."""
    return self._variables.env_steps if self._variables else None

  @property
  def age(self) -> float | None:
    """Seconds since `params` were published; None before the first."""
    return time.monotonic() - self._published if self._variables else None

  @property
  def failure(self) -> FetchFailure | None:
    """What is wrong with fetching; None while it works."""
    return self._failure

  def update(self) -> bool:
    """Takes what has arrived and asks for more when it is time.

    Returns:
      Whether `params` changed.
    """
    changed = False
    if self._pending is not None and self._pending.done():
      pending, self._pending = self._pending, None
      changed = self._take(pending)
    now = time.monotonic()
    if self._pending is None and now - self._started >= self._period_s:
      self._started = now
      self._pending = self._thread.submit(self._fetch)
    return changed

  def metrics(self) -> dict[str, float]:
    """Returns 'params_age' (s) and 'params_step'; nothing before the first."""
    if self._variables is None:
      return {}
    return {'params_age': self.age, 'params_step': self.learner_steps}

  def wait(self, timeout: float | None = None) -> bool:
    """Waits for the first parameters.

    Args:
      timeout: seconds; None waits for ever.

    Returns:
      Whether there are parameters.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    while not self.update() and self._variables is None:
      pause = _POLL_S
      if deadline is not None:
        pause = min(pause, deadline - time.monotonic())
      if pause <= 0:
        break
      if self._pending is not None:
        futures.wait([self._pending], pause)
      else:
        time.sleep(pause)
    return self._variables is not None

  def close(self) -> None:
    """Ends the thread without waiting for a fetch that hangs."""
    self._thread.shutdown(wait=False, cancel_futures=True)

  def _fetch(self) -> tuple[core.Variables | None, float]:
    known = -1 if self._variables is None else self._variables.learner_steps
    variables = self._source.get_variables(known)
    received = time.monotonic()
    if variables is not None:
      # Here and not in `update`: the transfer would hold up the robot.
      params = jax.block_until_ready(jax.device_put(variables.params))
      variables = variables._replace(params=params)
    return variables, received

  def _take(self, fetched: futures.Future) -> bool:
    """Takes the outcome of a fetch; returns whether `params` changed."""
    error = fetched.exception()
    if error is not None:
      self._note(error)
      return False
    if self._failure is not None:
      seconds = time.monotonic() - self._failure.since
      logging.info('Fetching parameters works again after %.1f s.', seconds)
      self._failure = None
    variables, received = fetched.result()
    if variables is None:
      return False
    known = self.learner_steps
    self._published = received - variables.age
    if known is not None and variables.learner_steps == known:
      return False
    self._variables = variables
    return True

  def _note(self, error: BaseException) -> None:
    previous = self._failure
    if previous is None:
      self._failure = FetchFailure(error, 1, time.monotonic())
    else:
      self._failure = previous._replace(error=error, count=previous.count + 1)
    if previous is None or _kind(previous.error) != _kind(error):
      held = f'parameters of {self.age:.1f} s' if self._variables else 'none'
      logging.warning(
        'Fetching parameters from %r failed, tried again every %g s; held: '
        '%s. %r',
        self._source,
        self._period_s,
        held,
        error,
      )


def _kind(error: BaseException) -> tuple[Any, ...]:
  return type(error), str(error)
