"""Object relocation between two bins with the numbers that SERL publishes.

Luo et al. 2024, SERL, arXiv 2401.16013. The bins stand side by side along y and
the target between them. FORWARD moves the object from the bin at larger y to
the other one, BACKWARD moves it back: what one ends with, the other begins
with, and nobody has to put the object anywhere. No pose tells success;
classifiers do, by the camera 'front', which policies do not see. `target`,
`reset` and the cameras' serials are of one laboratory: measure yours and write
them with `python -m serl.tools.new_task`.
"""

import dataclasses
import math

from serl.environments.franka import config

_TARGET = (0.485, 0.025, 0.0476, 3.1331, 0.0182, 1.5825)
_POSE_LOW, _POSE_HIGH = config.around(
  _TARGET,
  low=(-0.07, -0.15, -0.001, -0.01, -0.01, -math.pi / 6),
  high=(0.07, 0.15, 0.1, 0.01, 0.01, math.pi / 6),
)


# Without cameras.
FORWARD_STATE = config.Config(
  target=_TARGET,
  reset=config.beside(_TARGET, (0.0, 0.1, 0.1, 0.0, 0.0, 0.0)),
  pose_low=_POSE_LOW,
  pose_high=_POSE_HIGH,
  # Of the walls between the bins. SERL's ends with the limits, where a tool
  # that is pushed beyond them would pass: here it goes on for 2 cm.
  inner_low=config.beside(_TARGET, (-0.09, -0.03, -0.021)),
  inner_high=config.beside(_TARGET, (0.09, 0.03, 0.04)),
  action_scale=(0.05, 0.1, 1.0),
  lift=0.05,
  opens_at_reset=True,
  uses_gripper=True,
  gripper_penalty=0.1,
  compliance=config.Compliance(
    **config.clips((0.006, 0.006, 0.005), (0.05, 0.05, 0.02))
  ),
)
BACKWARD_STATE = dataclasses.replace(
  FORWARD_STATE, reset=config.beside(_TARGET, (0.0, -0.1, 0.1, 0.0, 0.0, 0.0))
)
# With one on the wrist, and the classifiers' in front of the bins.
_CAMERAS = (
  config.CameraConfig('wrist_1', '000000000001', columns=(80, 560)),
  config.CameraConfig(
    'front', '000000000003', columns=(80, 560), for_reward=True
  ),
)
FORWARD = dataclasses.replace(FORWARD_STATE, cameras=_CAMERAS)
BACKWARD = dataclasses.replace(BACKWARD_STATE, cameras=_CAMERAS)
