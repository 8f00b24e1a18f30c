"""Servos on the arm's joints: what holds it when the impedance law does not.

They stand for the real arm's own control of its joints: they move it to its
reset posture, and they are its brakes. A servo is a spring and a damper on a
joint, evaluated inside `mujoco.mj_step`.
"""

from collections.abc import Sequence

import mujoco
import numpy as np

_SERVOS = tuple(f'servo{i}' for i in range(1, 8))
# Of joints 1 to 7; the joint controller's of Franka's examples.
_STIFFNESS = np.array([600.0, 600.0, 600.0, 600.0, 250.0, 150.0, 50.0])
_DAMPING = np.array([50.0, 50.0, 50.0, 20.0, 20.0, 20.0, 10.0])


def add_actuators(spec: mujoco.MjSpec, joints: Sequence[str]) -> None:
  """Adds servos that are off to `spec`, in place.

  Args:
    spec: the model.
    joints: the names of its seven joints.
  """
  for name, joint in zip(_SERVOS, joints):
    spec.add_actuator(
      name=name,
      target=joint,
      trntype=mujoco.mjtTrn.mjTRN_JOINT,
      gaintype=mujoco.mjtGain.mjGAIN_FIXED,
      biastype=mujoco.mjtBias.mjBIAS_AFFINE,
      gainprm=np.zeros(10),
    )


class Servos:
  """The servos in a compiled model."""

  def __init__(self, model: mujoco.MjModel, data: mujoco.MjData):
    first = model.actuator(_SERVOS[0]).id
    self._servos = slice(first, first + len(_SERVOS))
    self._model = model
    self._target = data.ctrl[self._servos]  # a view: it commands
    self.switch(False)

  def switch(self, on: bool) -> None:
    """Lets the servos hold the joints, or lets go."""
    model, servos = self._model, self._servos
    model.actuator_gainprm[servos, 0] = on * _STIFFNESS
    model.actuator_biasprm[servos, 1] = -on * _STIFFNESS
    model.actuator_biasprm[servos, 2] = -on * _DAMPING

  def set_target(self, joints: np.ndarray) -> None:
    """Commands the joints' angles, [7], rad."""
    self._target[:] = joints
