"""Every constant of the gripper's part."""

import dataclasses
from typing import Annotated

from serl import configs

_Action = Annotated[float, configs.Bounds(-1, 1)]
_Way = Annotated[float, configs.Bounds(0, 1, '(]')]


@dataclasses.dataclass(frozen=True)
class HybridConfig:
  """What the gripper critic adds to an agent (HIL-SERL, arXiv 2410.21845).

  The wrapped agent's critics lend it their discount, target rate, learning rate
  and hidden sizes.
  """

  # Subtracted when an action switches the gripper, in the gripper critic's
  # target alone.
  penalty: configs.NonNegative = 0.02
  # The action's last entry closes the gripper from this on and opens it from
  # its opposite on; between them the gripper stays. Negative as on the real
  # arm; 0.5 suits PickCube, where larger actions close.
  closing: _Action = -0.5
  # By how much a choice that was demonstrated has to be worth more than the
  # others; DQfD (arXiv 1704.03732). Their values differ by little, at first by
  # chance. 0 leaves demonstrations to the targets.
  margin: configs.NonNegative = 0.0
  # Where the gripper's position is observed, a path such as 'state/gripper'.
  gripper_observation: configs.Word = 'gripper_pose'
  # What is read there when it is open and when it is closed. None is the
  # minimum and the maximum of its spec, as of a Robotiq; (0.08, 0.0) m are
  # those of Franka's hand.
  gripper_range: tuple[float, float] | None = None
  # The gripper counts as closed from this part of the way on. Fingers that
  # hold something wide stop early, and are closed all the same.
  closed_from: _Way = 0.1
  # Part of the exploring policy's choices that are drawn at random. An object
  # that is dropped is dear: keep it small.
  epsilon: configs.Fraction = 0.01

  def __post_init__(self):
    configs.check(self)
    readings = self.gripper_range
    configs.demand(
      self,
      ('closing', self.closing != 0, 'in [-1, 1] and not 0'),
      (
        'gripper_range',
        readings is None or readings[0] != readings[1],
        'None or two readings that differ, open and closed',
      ),
    )
