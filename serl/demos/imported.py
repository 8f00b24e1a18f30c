"""What was changed of data that were recorded elsewhere, told in lines."""

import collections
import dataclasses

from serl.demos import records


@dataclasses.dataclass
class Changes:
  """Counts over the episodes of a data set."""

  steps: int = 0
  clipped: collections.Counter[str] = dataclasses.field(
    default_factory=collections.Counter
  )  # steps by the action's path
  most: dict[str, float] = dataclasses.field(default_factory=dict)
  saturated: collections.Counter[str] = dataclasses.field(
    default_factory=collections.Counter
  )  # numbers by the observation's path
  converted: int = 0  # episodes whose gripper's readings had another unit

  def add(self, record: records.Record) -> None:
    """Counts an episode in."""
    self.steps += record.episode.length
    for path, clipped in record.metadata.get('clipped', {}).items():
      self.clipped[path] += clipped['steps']
      most = self.most.get(path, 0.0)
      self.most[path] = max(most, clipped['most'], key=abs)
    self.saturated.update(record.metadata.get('saturated', {}))
    self.converted += 'gripper' in record.metadata

  def lines(self) -> list[str]:
    """Returns a line for each kind of change."""
    lines = [
      f'{path}: in {count} of {self.steps} steps beyond its bounds, up to '
      f'{self.most[path]:.4g}: clipped'
      for path, count in self.clipped.items()
    ]
    lines += [
      f"{path}: {count} numbers were outside of the task's bounds and saturate"
      for path, count in self.saturated.items()
    ]
    if self.converted:
      lines.append(
        f'{self.converted} episodes have readings of the gripper from 0, '
        "closed, to 1, open: converted to the task's unit"
      )
    return lines
