"""Environments of dm_control."""

from collections.abc import Mapping
from typing import Any

import dm_env
import numpy as np

from serl import specs
from serl import types
from serl.environments.adapters import preparation
from serl.environments.sim import opengl
from serl.environments.wrappers import action_repeat as action_repeat_lib
from serl.environments.wrappers import base


class DMControl(base.ObservationWrapper):
  """Gives an environment of dm_control the conventions of this library.

  - `control_timestep` is a number.
  - `render(camera, height, width)` makes pictures for people.
  - Names of observations with slashes, as those of dm_control's composer, are
    names within names: {'arm/joints': x} becomes {'arm': {'joints': x}}.

  A time limit is LAST with discount 1 there, too. dm_control does not report
  success, so that there is none in `episode_metrics`.
  """

  def __init__(self, environment: dm_env.Environment):
    super().__init__(environment)
    self._drawn: Any = None  # the model that the renderers are of
    self._renderers: Any = None

  def observation_spec(self) -> types.NestedSpec:
    return specs.unflatten(self._environment.observation_spec())

  def observe(self, observation: types.NestedArray) -> types.NestedArray:
    return specs.unflatten(observation)

  @property
  def control_timestep(self) -> float:
    """The time of one action, s."""
    return float(self._environment.control_timestep())

  def render(
    self, camera: str = 'picture', height: int = 480, width: int = 640
  ) -> np.ndarray:
    """Returns a picture, [height, width, 3] uint8.

    Args:
      camera: its name in the model; 'picture' is the first one.
      height: of the picture, pixels.
      width: of the picture, pixels.

    Raises:
      RenderingUnavailableError: this machine cannot draw.
      ValueError: the model has no such camera.
    """
    # Who makes no pictures needs no OpenGL.
    from serl.environments.sim import rendering

    physics = self._environment.physics
    model = physics.model
    if self._drawn is not model.ptr:  # some tasks compile theirs anew
      self._close_renderers()
      self._drawn, self._renderers = model.ptr, rendering.Renderers(model.ptr)
    if camera == 'picture' and model.ncam:
      camera = model.id2name(0, 'camera')
    return self._renderers.render(physics.data.ptr, camera, height, width)

  def close(self) -> None:
    """Frees the renderers and closes the environment."""
    self._close_renderers()
    super().close()

  def _close_renderers(self) -> None:
    if self._renderers is not None:
      self._renderers.close()
    self._drawn = self._renderers = None


def from_dm_control(
  domain: str,
  task: str,
  seed: int = 0,
  action_repeat: int = 1,
  task_kwargs: Mapping[str, Any] | None = None,
  environment_kwargs: Mapping[str, Any] | None = None,
) -> dm_env.Environment:
  """Makes a task of dm_control's suite, ready for an agent.

  Tassa et al. 2020, dm_control, arXiv 2006.12983. Observations and actions are
  float32, and actions are in [-1, 1]. For other environments of dm_control, as
  its manipulation tasks, use `DMControl` and `agent_ready`.

  Args:
    domain: of the suite, such as 'walker'.
    task: of the domain, such as 'walk'.
    seed: of the random starts.
    action_repeat: steps of the suite that one action is executed for.
    task_kwargs: of the suite's task besides its seed, such as 'time_limit', s.
    environment_kwargs: of the suite's environment.

  Raises:
    ImportError: dm_control is not installed.
    ValueError: the suite has no such task.
  """
  suite = _suite()
  if (domain, task) not in suite.ALL_TASKS:
    tasks = sorted({t for d, t in suite.ALL_TASKS if d == domain})
    domains = sorted({d for d, _ in suite.ALL_TASKS})
    known = f'its tasks {tasks}' if tasks else f'one of the domains {domains}'
    raise ValueError(
      f'dm_control has no task {task!r} of {domain!r}; expected {known}.'
    )
  environment = suite.load(
    domain,
    task,
    task_kwargs={'random': seed, **(task_kwargs or {})},
    environment_kwargs=environment_kwargs,
  )
  environment = preparation.agent_ready(DMControl(environment))
  return action_repeat_lib.ActionRepeat(environment, action_repeat)


def _suite() -> Any:
  # Of no use to a run in another environment, and slow to import.
  opengl.prefer_headless()
  try:
    from dm_control import suite
  except ImportError as error:
    raise ImportError(
      f'dm_control cannot be imported ({error}). Install it with '
      "`pip install 'serl[dm_control]'`."
    ) from error
  return suite
