"""Peg insertion with the numbers that SERL publishes for it.

Luo et al. 2024, SERL, arXiv 2401.16013. The gripper holds the peg and stays
closed; the target pose is that of the tool with the peg inserted. `target`,
`reset` and the cameras' serials are of one laboratory: measure yours and write
them with `python -m serl.tools.new_task`.
"""

import dataclasses
import math

from serl.environments.franka import config

_TARGET = (0.5906, 0.0777, 0.0938, 3.1100, 0.0147, -0.0079)
_POSE_LOW, _POSE_HIGH = config.around(
  _TARGET,
  low=(-0.05, -0.05, 0.0, -0.01, -0.01, -math.pi / 6),
  high=(0.05, 0.05, 0.1, 0.01, 0.01, math.pi / 6),
)

# Without cameras.
STATE = config.Config(
  target=_TARGET,
  reset=(*_TARGET[:2], _TARGET[2] + 0.1, *_TARGET[3:]),
  pose_low=_POSE_LOW,
  pose_high=_POSE_HIGH,
  action_scale=(0.02, 0.1, 1.0),
  threshold=(0.01, 0.01, 0.01, 0.2, 0.2, 0.2),
  random_xy=0.05,
  random_yaw=math.pi / 6,
  lift=0.1,
  compliance=config.Compliance(
    **config.clips((0.003, 0.003, 0.01), (0.02, 0.02, 0.02))
  ),
)
# With two on the wrist.
VISION = dataclasses.replace(
  STATE,
  cameras=config.wrist_cameras(
    ('000000000001', '000000000002'), columns=(80, 560)
  ),
)
