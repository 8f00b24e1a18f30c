"""A task on the simulated arm as a `dm_env.Environment`.

The arm is the physics: measurements and commands. A task begins an episode,
acts, observes and rewards. This module keeps the time, the step types, the
random numbers, the sums for the log and the pictures, those that are observed
as those for people. None knows the others' business.
"""

from collections.abc import Mapping, Sequence
import math
from typing import Protocol

import dm_env
from dm_env import specs
import mujoco
import numpy as np

from serl import configs
from serl.environments.sim import opengl
from serl.environments.sim import rendering


class Task(Protocol):
  """What one task is; every method is about the present state."""

  model: mujoco.MjModel
  data: mujoco.MjData
  control_timestep: float  # s, of one action
  episode_steps: int  # actions; after these the time is up

  def begin_episode(self, rng: np.random.Generator) -> None:
    """Puts the arm and the objects where an episode starts."""

  def act(self, action: np.ndarray) -> None:
    """Commands `action` and lets one control step pass."""

  def observe(self) -> dict[str, np.ndarray]:
    """Returns new arrays that conform to `observation_spec`."""

  def reward_terms(self) -> Mapping[str, float]:
    """Returns the terms by name; the reward is their sum."""

  def progress(self) -> tuple[bool, Mapping[str, float]]:
    """Returns whether the task is done, and measures that grow with it."""

  def action_spec(self) -> specs.BoundedArray:
    """Returns the spec of the action."""

  def observation_spec(self) -> dict[str, specs.BoundedArray]:
    """Returns the specs of the observation, without the images."""

  def reward_spec(self) -> specs.BoundedArray:
    """Returns the spec of the reward."""


class SimEnvironment(dm_env.Environment):
  """Runs episodes of a fixed length of a task.

  The last step of an episode is a time limit: LAST with discount 1. Actions are
  trusted to conform to the spec; `ActionGuard` makes sure of it.
  """

  def __init__(
    self,
    task: Task,
    seed: int = 0,
    cameras: Sequence[str] = (),
    image_size: int = 128,
  ):
    """Creates the environment.

    Args:
      task: what is done.
      seed: of the random starts. Equal seeds and actions give equal episodes,
        bit for bit.
      cameras: of the model; what they see is observed by their names, in the
        fast look. Nothing is drawn before the first reset: who only asks for
        the specs, as a learner does, needs no OpenGL.
      image_size: height and width of their images, pixels.

    Raises:
      ValueError: if the model has no such camera or the size is none.
      RenderingUnavailableError: MUJOCO_GL names a display that is not there.
    """
    known = [task.model.camera(i).name for i in range(task.model.ncam)]
    for camera in cameras:
      if camera not in known:
        raise ValueError(f'No camera {camera!r}; the model has {known}.')
    configs.check_value('image_size', image_size, configs.Pixels)
    if cameras:
      opengl.check_variables()
    self._task = task
    self._rng = np.random.default_rng(seed)
    self._cameras = tuple(cameras)
    self._image_size = image_size
    self._steps = 0
    self._running = False
    self._done = False
    self._metrics: dict[str, float] = {}
    self._renderers = rendering.Renderers(task.model)

  def reset(self) -> dm_env.TimeStep:
    """Begins the next episode.

    Raises:
      RenderingUnavailableError: if cameras are observed, without OpenGL.
    """
    self._task.begin_episode(self._rng)
    self._steps = 0
    self._running = True
    self._done, measures = self._task.progress()
    self._metrics = {
      'success': float(self._done),
      **measures,
      **{f'reward/{name}': 0.0 for name in self._task.reward_terms()},
    }
    return dm_env.restart(self._observe())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    """Acts for one control step; begins an episode if none is running.

    Raises:
      FloatingPointError: if the simulation diverged.
    """
    if not self._running:
      return self.reset()
    self._task.act(action)
    self._steps += 1
    terms = self._task.reward_terms()
    reward = sum(terms.values())
    if not math.isfinite(reward):
      raise FloatingPointError(
        f'The simulation diverged at step {self._steps} of the episode (reward '
        f'terms {dict(terms)}) after the action {action}. Reduce the stiffness '
        'or the physics time step of the task.'
      )
    self._record(terms)
    self._running = self._steps < self._task.episode_steps
    return dm_env.TimeStep(
      dm_env.StepType.MID if self._running else dm_env.StepType.LAST,
      np.float32(reward),
      np.float32(1.0),
      self._observe(),
    )

  def _observe(self) -> dict[str, np.ndarray]:
    size = self._image_size
    images = {
      camera: self._renderers.render(
        self.data, camera, size, size, rendering.FAST
      )
      for camera in self._cameras
    }
    return {**images, **self._task.observe()}

  def _record(self, terms: Mapping[str, float]) -> None:
    metrics = self._metrics
    for name, value in terms.items():
      metrics[f'reward/{name}'] += value
    self._done, measures = self._task.progress()
    if self._done:
      metrics['success'] = 1.0
    for name, value in measures.items():
      metrics[name] = max(metrics[name], value)

  def episode_metrics(self) -> dict[str, float]:
    """Returns what the present episode has come to.

    'success' is 1 if the task was done at any step, else 0; 'reward/NAME' is a
    term's sum; the task's own measures are their largest values. Empty before
    the first reset.
    """
    return dict(self._metrics)

  def step_extras(self) -> dict[str, np.uint8]:
    """Returns what the last step was beside dm_env's terms.

    'success' is 1 if the task is done in the present state, else 0.
    """
    return {'success': np.uint8(self._done)}

  def action_spec(self) -> specs.BoundedArray:
    """Returns the spec of the action."""
    return self._task.action_spec()

  def observation_spec(self) -> dict[str, specs.BoundedArray]:
    """Returns the specs of the observation."""
    shape = (self._image_size, self._image_size, 3)
    images = {
      camera: specs.BoundedArray(shape, np.uint8, 0, 255, name=camera)
      for camera in self._cameras
    }
    return {**images, **self._task.observation_spec()}

  def reward_spec(self) -> specs.BoundedArray:
    """Returns the spec of the reward."""
    return self._task.reward_spec()

  def discount_spec(self) -> specs.BoundedArray:
    """Returns the spec of the discount; a time limit leaves it at 1."""
    return specs.BoundedArray((), np.float32, 0.0, 1.0, name='discount')

  @property
  def control_timestep(self) -> float:
    """The time of one action, s."""
    return self._task.control_timestep

  @property
  def model(self) -> mujoco.MjModel:
    """The compiled model, for viewers."""
    return self._task.model

  @property
  def data(self) -> mujoco.MjData:
    """The state of the simulation, for viewers."""
    return self._task.data

  def render(
    self, camera: str = 'picture', height: int = 480, width: int = 640
  ) -> np.ndarray:
    """Returns a picture of the present state, [height, width, 3] uint8.

    It is made for people; policies observe images in the fast look.
    """
    return self._renderers.render(self.data, camera, height, width)

  def close(self) -> None:
    """Frees the renderers; the next picture makes new ones."""
    self._renderers.close()
