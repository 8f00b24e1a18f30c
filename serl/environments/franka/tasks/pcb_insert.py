"""PCB insertion with the numbers that SERL publishes for it.

Luo et al. 2024, SERL, arXiv 2401.16013. The gripper holds a plug and stays
closed; the target pose is that of the tool with the plug in its socket.
`target`, `reset` and the cameras' serials are of one laboratory: measure yours
and write them with `python -m serl.tools.new_task`.
"""

import dataclasses
import math

from serl.environments.franka import config

_TARGET = (0.5669, 0.0021, 0.0536, 3.1280, 0.0177, 0.0213)
_POSE_LOW, _POSE_HIGH = config.around(
  _TARGET,
  low=(-0.05, -0.05, -0.005, -0.05, -0.05, -math.pi / 9),
  high=(0.05, 0.05, 0.05, 0.05, 0.05, math.pi / 9),
)

# Without cameras.
STATE = config.Config(
  target=_TARGET,
  reset=(*_TARGET[:2], _TARGET[2] + 0.04, *_TARGET[3:]),
  pose_low=_POSE_LOW,
  pose_high=_POSE_HIGH,
  action_scale=(0.02, 0.2, 1.0),
  threshold=(0.003, 0.003, 0.001, 0.1, 0.1, 0.1),
  random_xy=0.05,
  random_yaw=math.pi / 9,
  lift=0.03,
  compliance=config.Compliance(
    translational_stiffness=3000.0,
    translational_damping=180.0,
    **config.clips(
      (0.0025, 0.0015, 0.002),
      (0.025, 0.007, 0.01),
      negative=(0.002, 0.002, 0.003),
    ),
  ),
)
# With two on the wrist.
VISION = dataclasses.replace(
  STATE,
  cameras=config.wrist_cameras(
    ('000000000001', '000000000002'), rows=(90, 390), columns=(170, 470)
  ),
)
