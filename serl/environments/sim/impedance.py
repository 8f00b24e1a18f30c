"""The Cartesian impedance law of the arm, evaluated inside `mujoco.mj_step`.

The law of serl_franka_controllers: a spring and a damper between the tool and
its target, the spring's error clipped axis by axis. A law in Python would cost
twice the physics; here twelve actuators on the tool's site are the law, six
springs and six dampers. The clip of an error is the force range of its spring,
which is why springs and dampers are apart.

The springs of the translation act along the axes of the base frame. Those of
the rotation act along the axes of the target, a mocap body.
"""

import dataclasses
import math

import mujoco
import numpy as np

TARGET_BODY = 'impedance_target'
_BASE_SITE = 'impedance_base'
_TARGET_SITE = 'impedance_target'
_SPRINGS = tuple(f'impedance_spring_{i}' for i in range(6))
_DAMPERS = tuple(f'impedance_damper_{i}' for i in range(6))
_NO_CLIP = (math.inf, math.inf, math.inf)


@dataclasses.dataclass(frozen=True)
class Impedance:
  """The parameters of the law, named as the real controller names them."""

  translational_stiffness: float = 2000.0  # N/m
  translational_damping: float = 89.0  # N s/m
  # N m on the vector part of the error's quaternion: half of it per radian.
  rotational_stiffness: float = 150.0
  rotational_damping: float = 7.0  # N m s/rad
  # The error (tool minus target) is clipped to [-negative, clip] on x, y, z.
  translational_clip: tuple[float, ...] = _NO_CLIP  # m
  translational_clip_negative: tuple[float, ...] = _NO_CLIP  # m
  # Clip of the quaternion's vector part, to both sides, on the target's axes.
  rotational_clip: tuple[float, ...] = _NO_CLIP
  # Time constant of the low-pass on the target's position, s. The real
  # controller's 0.005 per millisecond is 0.2; 0 follows at once.
  target_time_constant: float = 0.0
  nullspace_stiffness: float = 0.2  # N m/rad, joints 2 to 7
  joint1_nullspace_stiffness: float = 20.0  # N m/rad, joint 1


def add_actuators(spec: mujoco.MjSpec, site: str) -> None:
  """Adds the law's actuators and its target to `spec`.

  Args:
    spec: the model; changed in place.
    site: the name of the tool's site.
  """
  spec.worldbody.add_site(name=_BASE_SITE, group=5)
  target = spec.worldbody.add_body(name=TARGET_BODY, mocap=True)
  target.add_site(name=_TARGET_SITE, group=5)
  for names in (_SPRINGS, _DAMPERS):
    for axis, name in enumerate(names):
      actuator = spec.add_actuator(
        name=name,
        target=site,
        refsite=_BASE_SITE if axis < 3 else _TARGET_SITE,
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
    filters = model.actuator_actadr[first]
    mocap = model.body(TARGET_BODY).mocapid[0]
    # Views into the simulation's memory: they follow and they command it.
    self._target_position = data.ctrl[first : first + 3]
    self._filtered_position = data.act[filters : filters + 3]
    self._mocap_position = data.mocap_pos[mocap]
    self._mocap_quaternion = data.mocap_quat[mocap]

  def set_parameters(self, impedance: Impedance) -> None:
    """Makes `impedance` the law's parameters from the next step on."""
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
        high = low = impedance.rotational_clip[axis - 3]
      spring, damper = self._springs[axis], self._dampers[axis]
      self._model.actuator_gainprm[spring, 0] = per_metre
      self._model.actuator_biasprm[spring, :3] = 0, -per_metre, 0
      self._model.actuator_forcelimited[spring] = math.isfinite(high + low)
      if math.isfinite(high + low):
        self._model.actuator_forcerange[spring] = (
          -stiffness * high,
          stiffness * low,
        )
      self._model.actuator_gainprm[damper, 0] = 0
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
    self._mocap_position[:] = position  # for the viewer; no force needs it

  def set_target_orientation(self, quaternion: np.ndarray) -> None:
    """Commands the tool's orientation, [4], MuJoCo's wxyz, base frame."""
    self._mocap_quaternion[:] = quaternion

  def reset(self, position: np.ndarray, quaternion: np.ndarray) -> None:
    """Commands a pose that the law holds at once, without the low-pass."""
    self.set_target(position)
    self.set_target_orientation(quaternion)
    self._filtered_position[:] = position
