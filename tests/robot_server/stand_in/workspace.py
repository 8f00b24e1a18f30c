"""Makes a ROS workspace for the stand-ins: messages, packages, launch files.

`/usr/bin/python3 workspace.py FOLDER`, by the Python that ROS is installed for.

The messages have the fields that the server uses and so not the checksums of
the real ones: this workspace must never be sourced beside a real one.
"""

import pathlib
import shutil
import sys

import genpy.generator

HERE = pathlib.Path(__file__).parent

ACTION = """
std_msgs/Header header
actionlib_msgs/GoalID goal_id
{} goal
"""

MESSAGES = {
  'franka_msgs': {
    'Errors': """
      bool joint_reflex
      bool cartesian_reflex
      bool communication_constraints_violation
    """,
    'FrankaState': """
      std_msgs/Header header
      float64[16] O_T_EE
      float64[7] q
      float64[7] dq
      float64[6] K_F_ext_hat_K
      Errors current_errors
      uint8 robot_mode
    """,
    'ErrorRecoveryGoal': '',
    'ErrorRecoveryActionGoal': ACTION.format('ErrorRecoveryGoal'),
  },
  'serl_franka_controllers': {'ZeroJacobian': 'float64[42] zero_jacobian'},
  'franka_gripper': {
    'GraspEpsilon': 'float64 inner\nfloat64 outer',
    'MoveGoal': 'float64 width\nfloat64 speed',
    'GraspGoal': """
      float64 width
      GraspEpsilon epsilon
      float64 speed
      float64 force
    """,
    'MoveActionGoal': ACTION.format('MoveGoal'),
    'GraspActionGoal': ACTION.format('GraspGoal'),
  },
  'robotiq_2f_gripper_control': {
    'Robotiq2FGripper_robot_output': """
      uint8 rACT
      uint8 rGTO
      uint8 rATR
      uint8 rPR
      uint8 rSP
      uint8 rFR
    """,
    'Robotiq2FGripper_robot_input': """
      uint8 gACT
      uint8 gGTO
      uint8 gSTA
      uint8 gOBJ
      uint8 gFLT
      uint8 gPR
      uint8 gPO
      uint8 gCU
    """,
  },
}

PACKAGE = """<package format="2">
  <name>{name}</name>
  <version>0.0.0</version>
  <description>A stand-in for tests.</description>
  <maintainer email="nobody@example.com">nobody</maintainer>
  <license>none</license>
</package>
"""

# As in the real ones, the end of the arm's driver is the end of everything.
LAUNCH = """<launch>
  <arg name="robot_ip" />
  <arg name="load_gripper" default="true" />
  <node name="{node}" pkg="serl_franka_controllers" type="arm.py"
    args="{controller} $(arg load_gripper)" required="true" />
</launch>
"""

COMPLIANCE_NODE = (
  'cartesian_impedance_controllerdynamic_reconfigure_compliance_param_node'
)

PROGRAMS = {
  'serl_franka_controllers': 'arm.py',
  'robotiq_2f_gripper_control': 'Robotiq2FGripperTcpNode.py',
}


def make(root: pathlib.Path) -> None:
  """Writes packages to root/share and the messages' modules to root/python."""
  search = {
    package: [f'/usr/share/{package}/msg']
    for package in ('std_msgs', 'actionlib_msgs')
  }
  for package, messages in MESSAGES.items():
    folder = root / 'share' / package
    search[package] = [str(folder / 'msg')]
    (folder / 'msg').mkdir(parents=True)
    (folder / 'package.xml').write_text(PACKAGE.format(name=package))
    for name, text in messages.items():
      lines = (line.strip() for line in text.splitlines())
      (folder / 'msg' / f'{name}.msg').write_text('\n'.join(lines) + '\n')
  for package, messages in MESSAGES.items():
    modules = root / 'python' / package / 'msg'
    modules.mkdir(parents=True)
    sources = [f'{search[package][0]}/{name}.msg' for name in messages]
    code = genpy.generator.MsgGenerator().generate_messages(
      package, sources, str(modules), search
    )
    if code:
      sys.exit(f'{package}: no messages were generated')
    (modules.parent / '__init__.py').touch()
    (modules / '__init__.py').write_text(
      ''.join(f'from ._{name} import *\n' for name in sorted(messages))
    )
  for package, program in PROGRAMS.items():
    copy = root / 'share' / package / program
    shutil.copy(HERE / program, copy)
    copy.chmod(0o755)
  launch = root / 'share' / 'serl_franka_controllers' / 'launch'
  launch.mkdir()
  for file, node, controller in (
    ('impedance.launch', COMPLIANCE_NODE, 'impedance'),
    ('joint.launch', 'joint_position_controller', 'joint'),
  ):
    (launch / file).write_text(LAUNCH.format(node=node, controller=controller))


if __name__ == '__main__':
  make(pathlib.Path(sys.argv[1]))
