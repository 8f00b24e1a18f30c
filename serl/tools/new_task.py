"""Writes the config of a task on the real arm, from a pose that was measured.

Lead the arm to the pose of success by hand, then:
python -m serl.tools.new_task my_task.py --url http://127.0.0.1:5000/
"""

import argparse
from collections.abc import Sequence
import dataclasses
import pathlib
import sys

import numpy as np

from serl import core
from serl.environments.franka import client
from serl.environments.franka import config as config_lib
from serl.environments.franka import poses
from serl.environments.franka import tasks

_TEMPLATE = '''\
"""A task on the real arm; every number is yours to change.

They are those of {like} around another target.
Poses are xyz in metres and extrinsic Euler angles xyz in radians, of the tool
in the arm's base frame. Start small: a box that is tight around the task
protects the arm, and makes the task easier to learn.
"""

from serl.environments.franka import config

# Where the tool was when the task was done; measure it again when anything in
# the room has moved.
TARGET = {target}
# The box of poses that a policy may command, around the target. Nothing hard
# may be in it that the arm must not touch; the robot's server has limits too.
POSE_LOW, POSE_HIGH = config.around(
  TARGET,
  low={low},
  high={high},
)

CONFIG = config.Config(
  target=TARGET,
  # Where episodes begin. Inside the box.
  reset=config.beside(TARGET, {reset}),
  pose_low=POSE_LOW,
  pose_high=POSE_HIGH,
{inner}\
  # What an action of 1 does in a step: m, rad, and the gripper's part. Smaller
  # is gentler and more exact, larger is faster.
  action_scale={action_scale},
  # How near to the target is success, in each of the six. None where a
  # classifier tells success.
  threshold={threshold},
  # How far from `reset` an episode may begin. 0 for the first trials;
  # {like} has {random_xy} m and {random_yaw} rad.
  random_xy=0.0,
  random_yaw=0.0,
  # Straight up before a reset, m: as far as the hand needs to come free.
  lift={lift},
  joint_reset_every={joint_reset_every},
  # Whether the policy opens and closes the gripper, and what a switch costs.
  uses_gripper={uses_gripper},
  opens_at_reset={opens_at_reset},
  gripper_penalty={penalty},
  # What the gripper reads when open and when closed: (0, 255) of a Robotiq,
  # (0.08, 0.0) of Franka's hand.
  gripper_range={gripper_range},
  # The clips bound the force of contact: stiffness times clip. With 2000 N/m a
  # clip of 0.003 m pulls with 6 N.
  compliance=config.Compliance(
{compliance}\
  ),
  # Cut each picture to what matters, by rows and columns, best to a square.
  # The serial number stands on the underside; doctor lists those it finds.
  cameras=({cameras}),
  url={url!r},
)
'''
_INNER = """\
  # Something stands in this box: the tool stops where it enters.
  inner_low=config.beside(TARGET, {}),
  inner_high=config.beside(TARGET, {}),
"""


def make_text(
  target: Sequence[float],
  url: str,
  like: str = 'peg_insert',
  cameras: Sequence[tuple[str, str]] = (),
  uses_gripper: bool = False,
  classified: bool = False,
) -> str:
  """Returns the Python file of a config.

  Args:
    target: [6], the pose of success, m and rad.
    url: of the robot's server.
    like: the task whose numbers it begins with, one of `tasks.TASKS`.
    cameras: of each the name and the serial number; those of `like` if empty.
    uses_gripper: whether the policy moves the gripper, also if `like` does not.
    classified: likewise, whether a classifier tells success, not the pose.
  """
  config = tasks.TASKS[like]
  target_there = (*config.target[:3], abs(config.target[3]), *config.target[4:])
  inner = ''
  if config.inner_low is not None:
    corners = (config.inner_low, config.inner_high)
    inner = _INNER.format(*(_offset(c, config.target) for c in corners))
  uses_gripper = uses_gripper or config.uses_gripper
  described = dataclasses.asdict(config.compliance)
  return _TEMPLATE.format(
    like=like,
    target=_numbers(np.round(target, 4)),
    low=_offset(config.pose_low, target_there),
    high=_offset(config.pose_high, target_there),
    reset=_offset(config.reset, config.target),
    inner=inner,
    action_scale=config.action_scale,
    threshold=None if classified else config.threshold,
    random_xy=f'{config.random_xy:g}',
    random_yaw=f'{config.random_yaw:.3g}',
    lift=config.lift,
    joint_reset_every=config.joint_reset_every,
    uses_gripper=uses_gripper,
    opens_at_reset=uses_gripper,
    penalty=config.gripper_penalty or (0.1 if uses_gripper else 0.0),
    gripper_range=config.gripper_range,
    compliance=''.join(f'    {k}={v!r},\n' for k, v in described.items()),
    cameras=_cameras(config.cameras, cameras),
    url=url,
  )


def _numbers(values: Sequence[float]) -> str:
  """Returns numbers as a tuple's text, without the noise of their sums."""
  return f'({", ".join(str(round(float(x), 6)) for x in values)})'


def _offset(pose: Sequence[float], target: Sequence[float]) -> str:
  return _numbers(np.subtract(pose, target[: len(pose)]))


def _cameras(
  like: Sequence[config_lib.CameraConfig], given: Sequence[tuple[str, str]]
) -> str:
  """Returns the text of cameras, cut as those of the same name in `like`."""
  named = {camera.name: camera for camera in like}
  default = config_lib.CameraConfig('any', 'any', columns=(80, 560))
  lines = []
  for name, serial in given or [(c.name, c.serial) for c in like]:
    camera = named.get(name, default)
    parts = [
      f'{part}={getattr(camera, part)}'
      for part in ('rows', 'columns', 'for_reward')
      if getattr(camera, part)
    ]
    arguments = ''.join(
      f'\n      {x},' for x in (repr(name), f'serial={serial!r}', *parts)
    )
    lines.append(f'\n    config.CameraConfig({arguments}\n    ),')
  return f'{"".join(lines)}\n  ' if lines else ''


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
  add('--token-file', help="with the robot server's token")
  add(
    '--camera',
    action='append',
    default=[],
    type=_camera,
    metavar='NAME=SERIAL',
    help='may be given several times',
  )
  add(
    '--like',
    default='peg_insert',
    choices=[name for name in tasks.TASKS if not name.endswith('_state')],
    help='whose numbers it begins with (default: %(default)s)',
  )
  add('--gripper', action='store_true', help='the policy moves it')
  add('--classifier', action='store_true', help='it tells success')
  flags = parser.parse_args(arguments)
  if flags.file.suffix != '.py':
    parser.error(f'{flags.file} is no FILE.py')
  try:
    if flags.pose is None:
      robot = client.HttpRobot(flags.url, client.read_token(flags.token_file))
      # Led by hand it may be idle or stopped: its pose is known all the same.
      health = robot.health()
      robot.close()
      if health['state'] is None:
        raise core.FaultError(
          f"The arm's pose is not known ({health['controller']}); expected a "
          'state from its server: unlock the joints and activate FCI, or give '
          '--pose'
        )
      flags.pose = health['state']['pose']
    text = make_text(
      _euler_pose(flags.pose),
      flags.url,
      flags.like,
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
