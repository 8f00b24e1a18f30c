"""Writes the config of a task on the real arm, from a pose that was measured.

Lead the arm to the pose of success by hand, then:
python -m serl.tools.new_task my_task.py --url http://127.0.0.1:5000/
"""

import argparse
from collections.abc import Sequence
import pathlib
import sys

import numpy as np

from serl import core
from serl.environments.franka import client
from serl.environments.franka import poses
from serl.environments.franka import tasks

_TEMPLATE = '''\
"""The config of a task on the real arm; every number is yours to change.

Poses are xyz in metres and extrinsic Euler angles xyz in radians, of the tool
in the arm's base frame. Start small: a box that is tight around the task
protects the arm, and makes the task easier to learn.
"""

import math

from serl.environments.franka import config

# Where the tool was when the task was done; measure it again when anything in
# the room has moved.
TARGET = {target}
# The box of poses that a policy may command, around the target. Nothing hard
# may be in it that the arm must not touch; the robot's server has limits too.
POSE_LOW, POSE_HIGH = config.around(
  TARGET,
  low=(-0.05, -0.05, 0.0, -0.01, -0.01, -math.pi / 6),
  high=(0.05, 0.05, 0.1, 0.01, 0.01, math.pi / 6),
)

CONFIG = config.Config(
  target=TARGET,
  # Where episodes begin: above the target. Inside the box.
  reset=(*TARGET[:2], TARGET[2] + 0.1, *TARGET[3:]),
  pose_low=POSE_LOW,
  pose_high=POSE_HIGH,
  # What an action of 1 does in a step: m, rad, and the gripper's part. Smaller
  # is gentler and more exact, larger is faster.
  action_scale=(0.02, 0.1, 1.0),
  # How near to the target is success, in each of the six. None where a
  # classifier tells success.
  threshold={threshold},
  # How far from `reset` an episode may begin. 0 for the first trials.
  random_xy=0.0,
  random_yaw=0.0,
  # Straight up before a reset, m: as far as the hand needs to come free.
  lift=0.1,
  joint_reset_every=200,
  # Whether the policy opens and closes the gripper, and what a switch costs.
  uses_gripper={uses_gripper},
  opens_at_reset={uses_gripper},
  gripper_penalty={penalty},
  # What the gripper reads when open and when closed: (0, 255) of a Robotiq,
  # (0.08, 0.0) of Franka's hand.
  gripper_range=(0.0, 255.0),
  # The clips bound the force of contact: stiffness times clip. With 2000 N/m a
  # clip of 0.003 m pulls with 6 N.
  compliance=config.Compliance(
    translational_stiffness=2000.0,
    translational_damping=89.0,
    translational_clip_x=0.003,
    translational_clip_neg_x=0.003,
    translational_clip_y=0.003,
    translational_clip_neg_y=0.003,
    translational_clip_z=0.01,
    translational_clip_neg_z=0.01,
    rotational_stiffness=150.0,
    rotational_damping=7.0,
    rotational_clip_x=0.02,
    rotational_clip_neg_x=0.02,
    rotational_clip_y=0.02,
    rotational_clip_neg_y=0.02,
    rotational_clip_z=0.02,
    rotational_clip_neg_z=0.02,
  ),
  # Cut each picture to what matters, by rows and columns, best to a square.
  cameras=({cameras}),
  url={url!r},
)
'''
_CAMERA = """
    config.CameraConfig({name!r}, serial={serial!r}, columns=(80, 560)),"""


def make_text(
  target: Sequence[float],
  url: str,
  cameras: Sequence[tuple[str, str]] = (),
  uses_gripper: bool = False,
  classified: bool = False,
) -> str:
  """Returns the Python file of a config.

  Args:
    target: [6], the pose of success, m and rad.
    url: of the robot's server.
    cameras: of each the name and the serial number.
    uses_gripper: whether the policy moves the gripper.
    classified: whether a classifier tells success, not the pose.
  """
  described = ''.join(
    _CAMERA.format(name=name, serial=serial) for name, serial in cameras
  )
  return _TEMPLATE.format(
    target='({})'.format(', '.join(f'{x:.4f}' for x in target)),
    threshold='None' if classified else '(0.01, 0.01, 0.01, 0.2, 0.2, 0.2)',
    uses_gripper=uses_gripper,
    penalty=0.1 if uses_gripper else 0.0,
    cameras=f'{described}\n  ' if described else '',
    url=url,
  )


def _camera(text: str) -> tuple[str, str]:
  name, _, serial = text.partition('=')
  if not name or not serial:
    raise argparse.ArgumentTypeError(f'{text!r}; expected NAME=SERIAL')
  return name, serial


def _euler_pose(numbers: Sequence[float]) -> np.ndarray:
  if len(numbers) not in (6, 7) or not np.isfinite(numbers).all():
    raise ValueError(
      f'--pose has {len(numbers)} numbers {list(numbers)}; expected 6, xyz and '
      'Euler angles xyz, or 7, xyz and quaternion xyzw'
    )
  if len(numbers) == 6:
    return np.asarray(numbers, float)
  return poses.to_euler(np.asarray(numbers, float))


def main(arguments: Sequence[str] | None = None) -> None:
  """Writes the file that `arguments` ask for."""
  parser = argparse.ArgumentParser(
    prog='python -m serl.tools.new_task',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add('file', metavar='FILE.py', type=pathlib.Path, help='to write')
  add(
    '--pose',
    nargs='+',
    type=float,
    metavar='X',
    help='of the tool at success: 6 or 7 numbers; else the server is asked',
  )
  add('--url', default='http://127.0.0.1:5000/', help="of the robot's server")
  add('--token', help='that the server demands')
  add(
    '--camera',
    action='append',
    default=[],
    type=_camera,
    metavar='NAME=SERIAL',
    help='may be given several times',
  )
  add('--gripper', action='store_true', help='the policy moves it')
  add('--classifier', action='store_true', help='it tells success')
  flags = parser.parse_args(arguments)
  if flags.file.suffix != '.py':
    parser.error(f'{flags.file} is no FILE.py')
  try:
    if flags.pose is None:
      robot = client.HttpRobot(flags.url, flags.token)
      flags.pose = robot.read_state().pose.tolist()
      robot.close()
    text = make_text(
      _euler_pose(flags.pose),
      flags.url,
      flags.camera,
      flags.gripper,
      flags.classifier,
    )
    # Never over one that somebody has worked on.
    with open(flags.file, 'x', encoding='utf-8') as file:
      file.write(text)
    tasks.load(flags.file)
  except (OSError, ValueError, core.FaultError) as error:
    parser.error(str(error))
  print(flags.file)
  print(
    f'Look through it, then: python -m serl.tools.doctor {flags.file}',
    file=sys.stderr,
  )


if __name__ == '__main__':
  main()
