"""The simulated arm: a Franka Panda with a Robotiq 2F-85, under impedance.

The base frame of the arm is the world's; the tool centre point (tcp) is the
point between the fingertips where the gripper pinches.
"""

from collections.abc import Sequence

import mujoco
import numpy as np

from serl.environments.sim import assets
from serl.environments.sim import impedance as impedance_lib

# Above the middle of the workspace, gripper straight down; rad.
HOME_JOINTS = (0.0, -0.785, 0.0, -2.35, 0.0, 1.57, np.pi / 4)
# The gripper straight down, its fingers moving along y; wxyz.
DOWN = (0.0, 1.0, 0.0, 0.0)
# What the motors of the joints can give, N m.
_JOINT_TORQUES = (87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0)
_JOINTS = tuple(f'joint{i}' for i in range(1, 8))
_PANDA = 'panda/'
JOINTS = tuple(_PANDA + name for name in _JOINTS)  # in the model
_GRIPPER = 'gripper/'
_TCP = _PANDA + _GRIPPER + 'pinch'
_FINGERS = _PANDA + _GRIPPER + 'fingers_actuator'
# The joints of the fingers: 0 is open, _CLOSED is closed, rad.
FINGERS = tuple(
  _PANDA + _GRIPPER + side + '_driver_joint' for side in ('right', 'left')
)
_CLOSED = 0.8
_OPEN_WIDTH = 0.085  # m between the fingertips
# What the tool is fixed to, with its axes; the tool is this far along its z, m.
GRIPPER_BASE = _PANDA + _GRIPPER + 'base'
TCP_HEIGHT = 0.145
_VELOCITY_SENSOR = 'tcp_velocity'
# Keeps the posture's wrench finite where the Jacobian loses its rank.
_SINGULAR = 1e-9
_GRIPPER_RANGE = 255.0  # of the gripper's command, from open to closed


def attach(spec: mujoco.MjSpec) -> None:
  """Adds the arm, its gripper, camera and impedance law to `spec`, in place."""
  panda = mujoco.MjSpec.from_file(str(assets.panda_path()))
  _remove_hand(panda)
  # The flange is turned by -45 degrees to the last joint and the 2F-85 by 90
  # to its own mount: together the fingers move along y at home.
  mount = panda.body('link7').add_site(
    name='mount',
    pos=(0.0, 0.0, 0.107),
    quat=(np.cos(np.pi / 8), 0.0, 0.0, np.sin(np.pi / 8)),
  )
  gripper = mujoco.MjSpec.from_file(str(assets.robotiq_path()))
  # The room sets them; a child with other ones makes `attach` warn.
  for child in (panda, gripper):
    child.option.cone = spec.option.cone
    child.option.impratio = spec.option.impratio
  panda.attach(gripper, prefix=_GRIPPER, site=mount)
  for name, torque in zip(_JOINTS, _JOINT_TORQUES):
    joint = panda.joint(name)
    joint.actfrclimited = True
    joint.actfrcrange = (-torque, torque)
  for body in panda.bodies:
    body.gravcomp = 1
  spec.attach(panda, prefix=_PANDA, frame=spec.worldbody.add_frame())
  # Beside the gripper, between it and the arm's base: it sees what lies between
  # the fingers and ahead of them.
  spec.body(GRIPPER_BASE).add_camera(
    name='wrist',
    pos=(-0.1, 0.0, 0.03),
    xyaxes=(0.0, 1.0, 0.0, 0.8, 0.0, -0.6),
    fovy=75.0,
  )
  impedance_lib.add_actuators(spec, _TCP)
  spec.add_sensor(
    name=_VELOCITY_SENSOR,
    type=mujoco.mjtSensor.mjSENS_FRAMELINVEL,
    objtype=mujoco.mjtObj.mjOBJ_SITE,
    objname=_TCP,
  )


def stop_fingers(spec: mujoco.MjSpec, width: float) -> None:
  """Lets the gripper close no further than what it holds, in place.

  Args:
    spec: with the arm.
    width: between the fingertips then, m.
  """
  for finger in FINGERS:
    spec.joint(finger).range = (0.0, _CLOSED * (1 - width / _OPEN_WIDTH))


def _remove_hand(panda: mujoco.MjSpec) -> None:
  """Removes Franka's own hand, all that names it, and the joint servos."""
  for elements in (
    panda.keys,
    panda.actuators,
    panda.equalities,
    panda.tendons,
    panda.lights,
  ):
    for element in list(elements):
      panda.delete(element)
  panda.delete(panda.body('hand'))


class Arm:
  """The arm in a compiled model: commands and measurements by name."""

  def __init__(
    self,
    model: mujoco.MjModel,
    data: mujoco.MjData,
    impedance: impedance_lib.Impedance,
  ):
    """Finds the arm in `model`.

    Args:
      model: compiled from a spec that `attach` was called with.
      data: its state.
      impedance: the law's first parameters.
    """
    self._model = model
    self._data = data
    self._law = impedance_lib.Law(model, data)
    self.set_impedance(impedance)
    self._tcp = model.site(_TCP).id
    self._gripper = model.actuator(_FINGERS).id
    finger = model.joint(FINGERS[0]).qposadr[0]
    self._finger = data.qpos[finger : finger + 1]
    joints = [model.joint(name) for name in JOINTS]
    positions = joints[0].qposadr[0]
    velocities = joints[0].dofadr[0]
    self._dofs = slice(velocities, velocities + 7)
    # Views into the simulation's memory.
    self._joint_positions = data.qpos[positions : positions + 7]
    self._joint_velocities = data.qvel[self._dofs]
    self._constraint_torque = data.qfrc_constraint[self._dofs]
    self._posture_torque = data.qfrc_applied[self._dofs]
    self._tcp_position = data.site_xpos[self._tcp]
    velocity = model.sensor(_VELOCITY_SENSOR).adr[0]
    self._tcp_velocity = data.sensordata[velocity : velocity + 3]
    self._jacobian = np.zeros((6, model.nv))
    self._gram = np.zeros((6, 6))
    self._posture = np.array(HOME_JOINTS)

  def set_impedance(self, impedance: impedance_lib.Impedance) -> None:
    """Makes `impedance` the law's parameters from the next step on."""
    self._law.set_parameters(impedance)
    self._posture_stiffness = np.full(7, impedance.nullspace_stiffness)
    self._posture_stiffness[0] = impedance.joint1_nullspace_stiffness
    self._posture_damping = np.full(7, impedance.nullspace_damping)
    self._posture_damping[0] = impedance.joint1_nullspace_damping

  def reset(self, joints: Sequence[float] = HOME_JOINTS) -> None:
    """Puts the arm at `joints`, at rest and holding its pose, gripper open.

    The rest of the model must stand: call it last, after `mj_resetData`.

    Args:
      joints: [7], rad. Where the tool does not point straight down there, it
        is pulled to that unless `hold` is called next.
    """
    self._joint_positions[:] = joints
    self._posture[:] = joints
    self._data.ctrl[self._gripper] = 0.0
    mujoco.mj_forward(self._model, self._data)
    self._law.reset(self._tcp_position, np.array(DOWN))
    mujoco.mj_forward(self._model, self._data)

  def step(self, substeps: int) -> None:
    """Advances the physics of the whole model by `substeps` time steps."""
    self._hold_posture()
    self._law.advance(substeps * self._model.opt.timestep)
    # `mj_step` leaves positions that lag one step behind the joints. Cutting
    # it in two halves at the ends costs nothing and leaves them exact.
    mujoco.mj_step2(self._model, self._data)
    if substeps > 1:
      mujoco.mj_step(self._model, self._data, substeps - 1)
    mujoco.mj_step1(self._model, self._data)

  @property
  def tcp_position(self) -> np.ndarray:
    """Where the tool is, [3], m, base frame."""
    return self._tcp_position.copy()

  @property
  def tcp_velocity(self) -> np.ndarray:
    """How the tool moves, [3], m/s, base frame."""
    return self._tcp_velocity.copy()

  @property
  def tcp_rotation(self) -> np.ndarray:
    """How the tool is turned, [3, 3], its axes as columns in the base frame."""
    return self._data.site_xmat[self._tcp].reshape(3, 3).copy()

  @property
  def tcp_quaternion(self) -> np.ndarray:
    """How the tool is turned, [4], MuJoCo's wxyz, base frame."""
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, self._data.site_xmat[self._tcp])
    return quaternion

  @property
  def joint_positions(self) -> np.ndarray:
    """The joints' angles, [7], rad."""
    return self._joint_positions.copy()

  @property
  def joint_velocities(self) -> np.ndarray:
    """The joints' speeds, [7], rad/s."""
    return self._joint_velocities.copy()

  def jacobian(self) -> np.ndarray:
    """Returns the tool's Jacobian, [6, 7]: linear, then angular, base frame."""
    mujoco.mj_jacSite(
      self._model, self._data, self._jacobian[:3], self._jacobian[3:], self._tcp
    )
    return np.ascontiguousarray(self._jacobian[:, self._dofs])

  def external_wrench(self) -> np.ndarray:
    """Returns what the world does to the tool, [6], N and N m, base frame.

    It is estimated as the real arm does it, from the joints' torques that
    neither the motors nor the arm's own motion account for: here, those of the
    contacts and of the forces that are applied to the bodies.
    """
    torque = self._constraint_torque.copy()
    data = self._data
    if np.count_nonzero(data.xfrc_applied):
      applied = np.zeros(self._model.nv)
      for body in np.flatnonzero(data.xfrc_applied.any(axis=1)):
        mujoco.mj_applyFT(
          self._model,
          data,
          data.xfrc_applied[body, :3],
          data.xfrc_applied[body, 3:],
          data.xipos[body],
          body,
          applied,
        )
      torque += applied[self._dofs]
    return self._explain(self.jacobian(), torque)

  @property
  def target_position(self) -> np.ndarray:
    """Where the tool shall be, [3], m, base frame."""
    return self._law.target_position

  def set_target(self, position: np.ndarray) -> None:
    """Commands the tool to a position, [3], m, base frame."""
    self._law.set_target(position)

  def set_target_orientation(self, quaternion: np.ndarray) -> None:
    """Commands the tool's orientation, [4], MuJoCo's wxyz, base frame."""
    self._law.set_target_orientation(quaternion)

  def hold(self) -> None:
    """Commands the pose and the posture that the arm is in."""
    self._posture[:] = self._joint_positions
    self._law.reset(self._tcp_position, self.tcp_quaternion)

  @property
  def gripper_command(self) -> float:
    """The commanded closing of the gripper, 0 (open) to 1 (closed)."""
    return self._data.ctrl[self._gripper] / _GRIPPER_RANGE

  @property
  def gripper_position(self) -> float:
    """How far the gripper is closed, 0 (open) to 1 (closed)."""
    return min(max(self._finger[0] / _CLOSED, 0.0), 1.0)

  def set_gripper(self, closing: float) -> None:
    """Commands the gripper, from 0 (open) to 1 (closed)."""
    self._data.ctrl[self._gripper] = _GRIPPER_RANGE * closing

  def _hold_posture(self) -> None:
    """Pulls the joints home where the tool does not feel it.

    The torque is projected on the null space of the tool's Jacobian. Posture is
    slow: once a control step is enough.
    """
    jacobian = self.jacobian()
    torque = self._posture_stiffness * (self._posture - self._joint_positions)
    torque -= self._posture_damping * self._joint_velocities
    wrench = self._explain(jacobian, torque)
    self._posture_torque[:] = torque - jacobian.T @ wrench

  def _explain(self, jacobian: np.ndarray, torque: np.ndarray) -> np.ndarray:
    """Returns the tool's wrench, [6], that does to the joints as `torque` [7].

    The one with the least squared difference.
    """
    wrench = jacobian @ torque
    # MuJoCo's own solver: numpy's wakes BLAS's threads for these six numbers,
    # and waits a third of a millisecond for them on a machine that is busy.
    mujoco.mju_mulMatMatT(self._gram, jacobian, jacobian)
    mujoco.mju_cholFactor(self._gram, _SINGULAR)
    mujoco.mju_cholSolve(wrench, self._gram, wrench)
    return wrench
