"""The Cartesian impedance law of the arm, evaluated inside `mujoco.mj_step`.

The law of serl_franka_controllers: a spring and a damper between the tool and
its target, the spring's error clipped axis by axis, and what integral of it is
asked for. A law in Python would cost twice the physics; here twelve actuators
on the tool's site are the law, six springs and six dampers. The clip of an
error is the force range of its spring, which is why springs and dampers are
apart.

All act along and about the axes of the base frame, as the real ones do. MuJoCo
tells how a site is turned on the axes of another one that stands still: so the
target is no body in the room but a site on the tool, which is turned until it
stands as the base does where the tool is as commanded. What it is turned by
then is the error.

The real controller bounds the rate of its torques, too, by 1 N m/ms; this one
does not. The commands of the scripted experts meet that bound in 1 of 1,000
steps at most, on impacts. Replayed under a law in numpy with it, they move the
tool as this law does within 0.4 mm and 0.02 degrees in insertions and cable
routing, within 1.4 mm and 0.1 degrees between the bins.
"""

import dataclasses
import math
from typing import Annotated

import mujoco
import numpy as np

from serl import configs

ERROR_SITE = 'impedance_error'  # its rotation is that from target to tool
_BASE_SITE = 'impedance_base'
_SPRINGS = tuple(f'impedance_spring_{i}' for i in range(6))
_DAMPERS = tuple(f'impedance_damper_{i}' for i in range(6))
# On x, y and z; infinity clips nothing.
_Clips = Annotated[
  tuple[Annotated[float, configs.Bounds(0, math.inf)], ...], configs.length(3)
]
_NO_CLIP = (math.inf, math.inf, math.inf)
# What the integral of the error, in m ms and rad ms, may grow to.
_LARGEST_INTEGRAL = np.array([0.1] * 3 + [0.3] * 3)


@dataclasses.dataclass(frozen=True)
class Impedance:
  """The parameters of the law, named as the real controller names them."""

  translational_stiffness: configs.NonNegative = 2000.0  # N/m
  translational_damping: configs.NonNegative = 89.0  # N s/m
  # N m on the vector part of the error's quaternion: half of it per radian.
  rotational_stiffness: configs.NonNegative = 150.0
  rotational_damping: configs.NonNegative = 7.0  # N m s/rad
  # The error (tool minus target) is clipped to [-negative, clip] on x, y, z.
  translational_clip: _Clips = _NO_CLIP  # m
  translational_clip_negative: _Clips = _NO_CLIP  # m
  # The same of the quaternion's vector part.
  rotational_clip: _Clips = _NO_CLIP
  rotational_clip_negative: _Clips = _NO_CLIP
  # Of the clipped error's integral since the last command, in m ms and rad ms.
  translational_Ki: configs.NonNegative = 0.0  # N/(m ms)
  rotational_Ki: configs.NonNegative = 0.0  # N m/(rad ms)
  # Time constant of the low-pass on the target, s. The real controller's 0.005
  # per millisecond is 0.2; 0 follows at once.
  target_time_constant: configs.NonNegative = 0.0
  nullspace_stiffness: configs.NonNegative = 0.2  # N m/rad, joints 2 to 7
  joint1_nullspace_stiffness: configs.NonNegative = 20.0  # N m/rad, joint 1
  nullspace_damping: configs.NonNegative = 0.0  # N m s/rad, joints 2 to 7
  joint1_nullspace_damping: configs.NonNegative = 0.0  # N m s/rad, joint 1

  __post_init__ = configs.check


# The arm goes limp: for another law to move it.
OFF = Impedance(
  translational_stiffness=0.0,
  translational_damping=0.0,
  rotational_stiffness=0.0,
  rotational_damping=0.0,
  nullspace_stiffness=0.0,
  joint1_nullspace_stiffness=0.0,
)


def add_actuators(spec: mujoco.MjSpec, site: str) -> None:
  """Adds the law's actuators and their sites to `spec`.

  Args:
    spec: the model; changed in place.
    site: the name of the tool's site.
  """
  spec.worldbody.add_site(name=_BASE_SITE, group=5)
  tool = spec.site(site)
  tool.parent.add_site(name=ERROR_SITE, pos=tool.pos, quat=tool.quat, group=5)
  for names in (_SPRINGS, _DAMPERS):
    for axis, name in enumerate(names):
      actuator = spec.add_actuator(
        name=name,
        target=site if axis < 3 else ERROR_SITE,
        refsite=_BASE_SITE,
        trntype=mujoco.mjtTrn.mjTRN_SITE,
        gaintype=mujoco.mjtGain.mjGAIN_FIXED,
        biastype=mujoco.mjtBias.mjBIAS_AFFINE,
      )
      actuator.gear = np.eye(6)[axis]
      if names is _SPRINGS and axis < 3:
        actuator.dyntype = mujoco.mjtDyn.mjDYN_FILTEREXACT
        # Else the target would act one physics step late.
        actuator.actearly = True


class Law:
  """The law in a compiled model: its parameters and its target."""

  def __init__(self, model: mujoco.MjModel, data: mujoco.MjData):
    self._model = model
    self._springs = [model.actuator(name).id for name in _SPRINGS]
    self._dampers = [model.actuator(name).id for name in _DAMPERS]
    first = self._springs[0]
    damper = self._dampers[0]
    filters = model.actuator_actadr[first]
    error = model.site(ERROR_SITE).id
    # Else MuJoCo takes the tool's body for it, as it was when compiled.
    model.site_sameframe[error] = mujoco.mjtSameFrame.mjSAMEFRAME_NONE
    # Views into the simulation's memory: they follow and they command it.
    self._target_position = data.ctrl[first : first + 3]
    self._filtered_position = data.act[filters : filters + 3]
    self._error_quaternion = model.site_quat[error]
    tool = model.actuator_trnid[first, 0]
    self._tool_quaternion = model.site_quat[tool]  # on its body
    self._tool = data.actuator_length[first : first + 6]
    self._integral_force = data.ctrl[damper : damper + 6]
    self._target_quaternion = np.array([1.0, 0.0, 0.0, 0.0])
    self._filtered_quaternion = self._target_quaternion.copy()
    self._integral = np.zeros(6)
    self._impedance = OFF
    self._Ki = np.zeros(6)
    self._integrates = False

  def set_parameters(self, impedance: Impedance) -> None:
    """Makes `impedance` the law's parameters from the next step on."""
    self._impedance = impedance
    self._Ki = np.repeat(
      (impedance.translational_Ki, impedance.rotational_Ki), 3
    )
    self._integrates = self._Ki.any()
    self._forget()
    for axis in range(6):
      if axis < 3:
        stiffness = per_metre = impedance.translational_stiffness
        damping = impedance.translational_damping
        high = impedance.translational_clip[axis]
        low = impedance.translational_clip_negative[axis]
      else:
        # MuJoCo's error is the rotation vector, twice the quaternion's vector.
        stiffness = impedance.rotational_stiffness
        per_metre = stiffness / 2
        damping = impedance.rotational_damping
        high = impedance.rotational_clip[axis - 3]
        low = impedance.rotational_clip_negative[axis - 3]
      spring, damper = self._springs[axis], self._dampers[axis]
      self._model.actuator_gainprm[spring, 0] = per_metre
      self._model.actuator_biasprm[spring, :3] = 0, -per_metre, 0
      limited = stiffness > 0 and not math.isinf(min(high, low))
      self._model.actuator_forcelimited[spring] = limited
      if limited:
        self._model.actuator_forcerange[spring] = (
          -stiffness * high,
          stiffness * low,
        )
      # What commands a damper is a force: the integral's.
      self._model.actuator_gainprm[damper, 0] = 1
      self._model.actuator_biasprm[damper, :3] = 0, 0, -damping
    self._model.actuator_dynprm[self._springs[:3], 0] = (
      impedance.target_time_constant
    )

  @property
  def target_position(self) -> np.ndarray:
    """The commanded position of the tool, [3], m, base frame."""
    return self._target_position.copy()

  def set_target(self, position: np.ndarray) -> None:
    """Commands the tool's position, [3], m, base frame."""
    self._target_position[:] = position
    self._forget()

  def set_target_orientation(self, quaternion: np.ndarray) -> None:
    """Commands the tool's orientation, [4], MuJoCo's wxyz, base frame."""
    self._target_quaternion[:] = quaternion
    if self._impedance.target_time_constant == 0:
      self._follow(quaternion)

  def reset(self, position: np.ndarray, quaternion: np.ndarray) -> None:
    """Commands a pose that the law holds at once, without the low-pass."""
    self.set_target(position)
    self.set_target_orientation(quaternion)
    self._filtered_position[:] = position
    self._follow(quaternion)

  def advance(self, duration: float) -> None:
    """Does what the springs and dampers leave undone, before physics steps.

    The orientation's low-pass and the integral: both are slow, and a call for
    several physics steps is enough.

    Args:
      duration: of those steps, s.
    """
    if self._impedance.target_time_constant > 0:
      blend = 1 - math.exp(-duration / self._impedance.target_time_constant)
      before = self._filtered_quaternion
      # Of the two quaternions of a rotation, the one nearby.
      sign = math.copysign(1, before @ self._target_quaternion)
      after = before + blend * (sign * self._target_quaternion - before)
      mujoco.mju_normalize4(after)
      self._follow(after)
    if self._integrates:
      self._integrate(duration)

  def _follow(self, quaternion: np.ndarray) -> None:
    """Makes the springs pull to an orientation, [4], wxyz, base frame."""
    self._filtered_quaternion[:] = quaternion
    inverse = quaternion * (1, -1, -1, -1)
    mujoco.mju_mulQuat(self._error_quaternion, self._tool_quaternion, inverse)

  def _forget(self) -> None:
    """Begins the integral anew, as the real controller does on a command."""
    self._integral[:] = 0.0
    self._integral_force[:] = 0.0

  def _integrate(self, duration: float) -> None:
    impedance = self._impedance
    error = self._tool.copy()
    error[:3] -= self._filtered_position
    error[3:] /= 2  # as the quaternion's vector part
    error = np.clip(
      error,
      np.negative(
        impedance.translational_clip_negative
        + impedance.rotational_clip_negative
      ),
      impedance.translational_clip + impedance.rotational_clip,
    )
    self._integral += 1e3 * duration * error
    np.clip(
      self._integral, -_LARGEST_INTEGRAL, _LARGEST_INTEGRAL, out=self._integral
    )
    self._integral_force[:] = -self._Ki * self._integral
