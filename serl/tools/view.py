"""Shows a simulated task: in MuJoCo's viewer, or as a file without a display.

python -m serl.tools.view pick_cube --policy=expert --output=pick_cube.mp4
python -m serl.tools.view pick_cube_vision --images --output=cameras.png
"""

from collections.abc import Iterator
import os
import pathlib
import sys
from typing import Any

from absl import app
from absl import flags
import dm_env
from dm_env import specs
import imageio.v2 as imageio
import mujoco.viewer
import numpy as np

from serl import core
from serl.agents import actors
from serl.environments.sim import tasks
from serl.environments.wrappers import pacing
from serl.teleop import scripted

_SEED = flags.DEFINE_integer('seed', 0, "Of the task's random starts.")
_POLICY = flags.DEFINE_enum(
  'policy', 'expert', ['expert', 'random', 'zero'], 'What moves the arm.'
)
_OUTPUT = flags.DEFINE_string(
  'output',
  None,
  'A file to draw to: .mp4 for a video, .png for the last picture. By default '
  "MuJoCo's viewer opens, and TASK.mp4 is written where there is no display.",
)
_EPISODES = flags.DEFINE_integer(
  'episodes', 1, 'How many to show.', lower_bound=1
)
_IMAGES = flags.DEFINE_boolean(
  'images',
  False,
  'Draw the images that are observed, not the picture for people: a .png shows '
  'a few moments of an episode, a row for each camera.',
)

_MOMENTS = 8  # of an episode, in a .png of its images


class _Still:
  """Does nothing."""

  def __init__(self, spec: specs.BoundedArray):
    self._spec = spec

  def observe_first(self, timestep: dm_env.TimeStep) -> None:
    del timestep

  def select_action(self, observation: Any) -> np.ndarray:
    del observation
    return np.zeros(self._spec.shape, self._spec.dtype)


def make_actor(name: str, task: str, seed: int, environment: Any) -> core.Actor:
  """Returns who acts; it is asked for actions, and told the first timesteps.

  Args:
    name: 'expert', 'random' or 'zero'.
    task: whose expert is meant.
    seed: of the random actions.
    environment: which it shall act in.

  Raises:
    ValueError: if the task has no expert.
  """
  spec = environment.action_spec()
  if name == 'random':
    return actors.RandomActor(spec, seed)
  if name == 'zero':
    return _Still(spec)
  if task not in scripted.EXPERTS:
    raise ValueError(f'The task {task!r} has no expert; choose another policy.')
  return scripted.EXPERTS[task](environment=environment)


def run_episodes(
  environment: Any, actor: core.Actor, episodes: int
) -> Iterator[dm_env.TimeStep]:
  """Yields each reset's and each step's, and reports each episode's end."""
  for episode in range(episodes):
    timestep = environment.reset()
    actor.observe_first(timestep)
    total = 0.0
    yield timestep
    while not timestep.last():
      timestep = environment.step(actor.select_action(timestep.observation))
      total += float(timestep.reward)
      yield timestep
    metrics = environment.episode_metrics()
    print(
      f'episode {episode + 1}: return {total:.1f}, '
      + ', '.join(f'{name} {value:.3g}' for name, value in metrics.items())
    )


def show(environment: Any, actor: core.Actor, episodes: int) -> None:
  """Plays the episodes in MuJoCo's viewer, at the speed of the real thing."""
  paced = pacing.RealTime(environment, environment.control_timestep)
  with mujoco.viewer.launch_passive(
    environment.model, environment.data
  ) as viewer:
    for _ in run_episodes(paced, actor, episodes):
      if not viewer.is_running():
        return
      viewer.sync()


def draw(
  environment: Any,
  actor: core.Actor,
  episodes: int,
  path: pathlib.Path,
  images: bool,
) -> None:
  """Draws the episodes to a video, or their last moment to a picture.

  Args:
    environment: to act in.
    actor: who acts.
    episodes: how many.
    path: of the file, .mp4 or .png.
    images: whether to draw the observed images, above each other; a picture
      then holds `_MOMENTS` of them beside each other, from the last episode.

  Raises:
    ValueError: if images are wanted and none are observed.
  """
  names = [
    name
    for name, spec in environment.observation_spec().items()
    if len(spec.shape) == 3
  ]
  if images and not names:
    raise ValueError('--images: this task observes none; see the others.')

  def picture(timestep: dm_env.TimeStep) -> np.ndarray:
    if not images:
      return environment.render()
    return np.concatenate([timestep.observation[name] for name in names])

  steps = run_episodes(environment, actor, episodes)
  if path.suffix == '.png':
    pictures = []
    for timestep in steps:
      if timestep.first():
        pictures.clear()
      if images or timestep.last():
        pictures.append(picture(timestep))
    chosen = np.linspace(0, len(pictures) - 1, min(_MOMENTS, len(pictures)))
    strip = [pictures[moment] for moment in chosen.astype(int)]
    imageio.imwrite(path, np.concatenate(strip, axis=1))
    return
  fps = round(1 / environment.control_timestep)
  with imageio.get_writer(path, fps=fps) as video:
    for timestep in steps:
      video.append_data(picture(timestep))


def view(
  task: str,
  policy: str,
  seed: int,
  episodes: int,
  output: str | None,
  images: bool = False,
) -> None:
  """Shows or draws `episodes` of `task`; see the flags for the arguments.

  Raises:
    ValueError: if the task, its expert or the kind of file is unknown, or if
      images are wanted of a task that observes none.
    RenderingUnavailableError: if there is a file to draw and no OpenGL.
  """
  display = sys.platform != 'linux' or os.environ.get('DISPLAY')
  path = None
  if output or images or not display:
    path = pathlib.Path(output or f'{task}.mp4')
    if path.suffix not in ('.mp4', '.png'):
      raise ValueError(f'--output={path}; expected a name in .mp4 or .png.')
  environment = tasks.make(task, seed)
  try:
    actor = make_actor(policy, task, seed, environment)
    if path is None:
      show(environment, actor, episodes)
    else:
      draw(environment, actor, episodes, path, images)
      print(f'Written to {path.resolve()}')
  finally:
    environment.close()


def main(argv: list[str]) -> int:
  if len(argv) != 2:
    raise app.UsageError(f'Name one task: {", ".join(sorted(tasks.TASKS))}.')
  try:
    view(
      argv[1],
      _POLICY.value,
      _SEED.value,
      _EPISODES.value,
      _OUTPUT.value,
      _IMAGES.value,
    )
  except (ValueError, OSError) as error:
    print(f'view: {error}', file=sys.stderr)
    return 1
  return 0


if __name__ == '__main__':
  app.run(main)
