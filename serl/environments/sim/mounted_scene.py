"""A scene on the twin with a mount, which the target goes with."""

import numpy as np

from serl.environments.franka import config as config_lib
from serl.environments.franka import poses
from serl.environments.sim import twin as twin_lib
from serl.environments.sim import twin_environment


class MountedScene(twin_environment.Scene):
  """Something stands on the table, elsewhere in each episode if so asked.

  A subclass tells where it is by `mount_pose`. It is a mocap body of the model.
  """

  def __init__(
    self,
    twin: twin_lib.Twin,
    task: config_lib.Config,
    mount: str,
    xy: float,
    yaw: float,
  ):
    """Initialises the scene.

    Args:
      twin: of the scene's model.
      task: what is asked where the mount is in the model.
      mount: the name of its body.
      xy: how far it moves from there between the episodes along x and y, m,
        either way.
      yaw: likewise about the upright through the target, rad.
    """
    super().__init__(twin, task)
    self._mocap = twin.model.body(mount).mocapid[0]
    self._first_task = task
    self._range = np.array((xy, xy, yaw))

  def mount_pose(
    self, task: config_lib.Config
  ) -> tuple[np.ndarray, np.ndarray]:
    """Returns where the mount of a task is, [3], and how turned, [4] wxyz."""
    raise NotImplementedError

  @property
  def target(self) -> np.ndarray:
    """The tool's pose with the task done, [7], m and xyzw, base frame."""
    return poses.from_euler(self.task.target)

  def begin_episode(self, rng: np.random.Generator) -> None:
    """Restarts where the mount moves: a person does it, nothing in its way."""
    if (self._range > 0).any():
      self.restart(rng)

  def restart(self, rng: np.random.Generator) -> None:
    """Puts the arm at its reset posture and the mount anywhere in its range.

    `task` is then the one with the target where the mount is.
    """
    offset = np.zeros(6)
    offset[[0, 1, 5]] = rng.uniform(-self._range, self._range)
    self.task = config_lib.moved(self._first_task, offset)
    position, quaternion = self.mount_pose(self.task)
    with self.twin.lock:
      self.twin.restart()
      self.twin.data.mocap_pos[self._mocap] = position
      self.twin.data.mocap_quat[self._mocap] = quaternion
