"""Notices estimates of returns that are beyond all returns of the task."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from serl import specs
from serl import types
from serl.programs import config as config_lib

_VALUE = 'value'  # the end of the names of metrics that estimate returns
_MARGIN = 0.25  # of the range of returns, by which an estimate may be beyond it
_MULTIPLE = (
  10.0  # of the largest return of the rewards met, where none is known
)
_DISCOUNT = 0.99  # of an agent that does not describe its own
_GREATEST = 1e12  # of any metric


class ValueCheck:
  """Compares a learner's metrics with the returns that its task can give.

  These are the agent's `return_bounds`, or else follow from the bounds of the
  reward and the discount. Where the reward has none, or is learned, estimates
  may reach `_MULTIPLE` times the return of the largest reward that was met.
  """

  def __init__(self, config: config_lib.RunConfig, spec: specs.EnvironmentSpec):
    """Initialises the check.

    Args:
      config: of the run.
      spec: of its environment.
    """
    described = config.builder.describe()
    self._discount = _find('discount', described) or _DISCOUNT
    self._bounds = _bounds(described, spec.rewards, self._discount)
    self._greatest_reward = 1.0
    self._reward: Any = None

  def watch(self, iterator: Iterator[types.Batch]) -> Iterator[types.Batch]:
    """Returns an iterator over the same batches, whose rewards are met."""
    return _Watched(self, iterator)

  def meet(self, reward: Any) -> None:
    """Notes the rewards of a batch."""
    self._reward = reward

  def check(self, metrics: Mapping[str, Any]) -> str:
    """Returns what of a round's metrics is beyond all returns; '' if nothing.

    Args:
      metrics: scalars by their names, on the host.
    """
    low, high = self._range()
    values = {name: float(np.mean(value)) for name, value in metrics.items()}
    beyond = [
      f'{name} {value:.4g}'
      for name, value in values.items()
      if (name.endswith(_VALUE) and not low <= value <= high)
      or not abs(value) <= _GREATEST
    ]
    if not beyond:
      return ''
    return (
      f'the learner diverges: {", ".join(beyond)}, expected from {low:.4g} to '
      f'{high:.4g}, the returns that the task can give and a margin'
    )

  def _range(self) -> tuple[float, float]:
    if self._bounds is not None:
      low, high = self._bounds
      margin = _MARGIN * (high - low)
      return low - margin, high + margin
    if self._reward is not None:
      greatest = float(np.max(np.abs(np.asarray(self._reward)), initial=0.0))
      self._greatest_reward = max(self._greatest_reward, greatest)
    bound = _MULTIPLE * self._greatest_reward / max(1.0 - self._discount, 1e-3)
    return -bound, bound


class _Watched:
  """An iterator that, unlike a generator, goes on after an error."""

  def __init__(self, check: ValueCheck, iterator: Iterator[types.Batch]):
    self._check = check
    self._iterator = iterator

  def __iter__(self) -> '_Watched':
    return self

  def __next__(self) -> types.Batch:
    batch = next(self._iterator)
    self._check.meet(batch.reward)
    return batch


def _bounds(
  described: Mapping[str, Any], reward: specs.Array, discount: float
) -> tuple[float, float] | None:
  """Returns the least and the greatest return; None where they are unknown."""
  if bounds := _find('return_bounds', described):
    return float(bounds[0]), float(bounds[1])
  is_learned = described.get('agent') == 'vice'
  if is_learned or not isinstance(reward, specs.BoundedArray):
    return None
  low, high = float(np.min(reward.minimum)), float(np.max(reward.maximum))
  # An episode may end at any step.
  low, high = min(low, 0.0), max(high, 0.0)
  if not low < high or discount >= 1.0 or not np.isfinite((low, high)).all():
    return None
  return low / (1.0 - discount), high / (1.0 - discount)


def _find(name: str, described: Mapping[str, Any]) -> Any:
  """Returns what is described by a name, however deep; None if nothing is."""
  if described.get(name) is not None:
    return described[name]
  for value in described.values():
    if isinstance(value, Mapping):
      found = _find(name, value)
      if found is not None:
        return found
  return None
