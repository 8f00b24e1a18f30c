"""What people drive the arm with, and the actor behind it."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import dm_env
import numpy as np

from serl import core
from serl import specs
from serl import types

# Of the gripper. At the bound itself the density of a tanh-Gaussian policy,
# which may be asked to imitate this, is infinite.
_FIRM = 0.95
# The parts of an action by its length: translation, rotation, gripper.
_LAYOUTS = {
  3: (True, False, False),
  4: (True, False, True),
  6: (True, True, False),
  7: (True, True, True),
}


def unchanged(action: np.ndarray) -> np.ndarray:
  """Returns `action`: of environments that act in the base frame."""
  return action


class DeviceError(RuntimeError):
  """There is no such device, or it is gone."""


class Command(NamedTuple):
  """What a person asks of the arm at this moment."""

  # [6] float32 in [-1, 1]: along x, y, z and about x, y, z, base frame.
  motion: np.ndarray
  closing: int  # 1 closes the gripper, -1 opens it, 0 asks nothing of it

  @property
  def moves(self) -> bool:
    """Whether anything is asked for."""
    return bool(self.closing or self.motion.any())


class Device(Protocol):
  """A keyboard, a SpaceMouse, a gamepad; it may be a `HasBeginEpisode`."""

  def read(self) -> Command:
    """Returns what is asked for now; never waits.

    A button that was pressed and let go since the last time is asked for once.

    Raises:
      DeviceError: the device is gone.
    """

  def close(self) -> None:
    """Lets go of the device."""


@runtime_checkable
class HasBeginEpisode(Protocol, metaclass=core.Capability):
  """Keeps what was asked for, such as a button that was pressed."""

  def begin_episode(self) -> None:
    """Drops what was asked for before the episode that begins now."""


def begin_episode(device: Device | None) -> None:
  """Has a device drop what was asked for before an episode."""
  if isinstance(device, HasBeginEpisode):
    device.begin_episode()


def make_action(
  command: Command,
  spec: specs.BoundedArray,
  scale: float = 1.0,
  closes: int = 1,
  to_policy_frame: Callable[[np.ndarray], np.ndarray] = unchanged,
) -> np.ndarray:
  """Returns the action that a command means.

  Args:
    command: of a device.
    spec: of the action: [3] translation, [4] with a gripper behind it, [6] with
      a rotation behind it, [7] with both.
    scale: of the motion.
    closes: the sign of actions that close the gripper: 1 in PickCube, -1 on
      the real arm.
    to_policy_frame: takes an action in the base frame, the person's, to the
      policy's, as `RelativeFrame.to_tool_frame` does. What a turned motion
      exceeds the bounds by is cut off.

  Raises:
    ValueError: the action has another shape.
  """
  if len(spec.shape) != 1 or spec.shape[0] not in _LAYOUTS:
    raise ValueError(
      f'The action is {spec}; expected [A] with A one of {list(_LAYOUTS)}, '
      'which is what devices can drive.'
    )
  gripper = np.array([_FIRM * closes * command.closing])
  motion = scale * command.motion
  parts = (motion[:3], motion[3:], gripper)
  chosen = [p for p, used in zip(parts, _LAYOUTS[spec.shape[0]]) if used]
  action = to_policy_frame(np.concatenate(chosen))
  return np.clip(action, spec.minimum, spec.maximum).astype(spec.dtype)


def conventions(environment: dm_env.Environment) -> dict[str, Any]:
  """Returns the arguments of `make_action` that an environment decides.

  Args:
    environment: a `core.HasGripperCloses` and a `core.HasToolFrame` where its
      actions differ from PickCube's.
  """
  has_sign = isinstance(environment, core.HasGripperCloses)
  closes = environment.gripper_closes if has_sign else 1
  to_policy_frame = unchanged
  if isinstance(environment, core.HasToolFrame):
    # Looked up each time: of tasks that alternate it is the present one's.
    to_policy_frame = lambda action: environment.to_tool_frame(action)
  return {
    'spec': environment.action_spec(),
    'closes': closes,
    'to_policy_frame': to_policy_frame,
  }


class LastingDevice:
  """A device that may be gone for a while: that is a fault until it is back."""

  def __init__(self, open_device: Callable[[], Device]):
    """Opens the device.

    Args:
      open_device: opens it, at first and when it was gone.

    Raises:
      DeviceError: there is none.
    """
    self._open_device = open_device
    self._device: Device | None = open_device()

  def prepare(self) -> None:
    """Opens a device that was gone.

    Raises:
      FaultError: it is still gone.
    """
    if self._device is not None:
      return
    try:
      self._device = self._open_device()
    except DeviceError as error:
      raise core.FaultError(str(error)) from error

  def begin_episode(self) -> None:
    """Tells the device that an episode begins.

    Raises:
      FaultError: it is gone.
    """
    self.prepare()
    begin_episode(self._device)

  def read(self) -> Command:
    """Returns what is asked for now; never waits.

    Raises:
      FaultError: the device is gone.
    """
    if self._device is None:
      raise core.FaultError('The device of the person is gone.')
    try:
      return self._device.read()
    except DeviceError as error:
      self.close()
      raise core.FaultError(str(error)) from error

  def close(self) -> None:
    """Lets go of the device."""
    if self._device is not None:
      self._device.close()
      self._device = None


class DeviceActor:
  """A `core.Actor` that does what a person asks for."""

  def __init__(
    self,
    open_device: Callable[[], Device],
    spec: specs.BoundedArray,
    scale: float = 1.0,
    closes: int = 1,
    to_policy_frame: Callable[[np.ndarray], np.ndarray] = unchanged,
  ):
    """Initialises the actor and opens the device.

    Args:
      open_device: see `LastingDevice`.
      spec: of the action, see `make_action`.
      scale: likewise.
      closes: likewise.
      to_policy_frame: likewise.

    Raises:
      DeviceError: there is no device.
      ValueError: actions of this spec cannot be driven by one.
    """
    self._arguments = {
      'spec': spec,
      'scale': scale,
      'closes': closes,
      'to_policy_frame': to_policy_frame,
    }
    make_action(Command(np.zeros(6, np.float32), 0), **self._arguments)
    self._device = LastingDevice(open_device)

  def select_action(self, observation: types.NestedArray) -> np.ndarray:
    """Returns the action asked for at this moment.

    Raises:
      FaultError: the device is gone.
    """
    return make_action(self._device.read(), **self._arguments)

  def prepare(self) -> None:
    """Opens a device that was gone.

    Raises:
      FaultError: it is still gone: there is nobody to act.
    """
    self._device.prepare()

  def observe_first(self, timestep: dm_env.TimeStep) -> None:
    """Begins an episode.

    Raises:
      FaultError: the device is gone.
    """
    self._device.begin_episode()

  def observe(
    self, action: types.NestedArray, next_timestep: dm_env.TimeStep
  ) -> None:
    """Learns nothing."""

  def update(self) -> None:
    """Has no parameters."""
