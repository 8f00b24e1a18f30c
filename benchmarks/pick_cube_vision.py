"""How many steps a second PickCube makes from two cameras, and an image's cost.

python benchmarks/pick_cube_vision.py
"""

from collections.abc import Callable
import dataclasses
import statistics
import time

import numpy as np
import report

from serl.environments.sim import opengl
from serl.environments.sim import pick_cube
from serl.environments.sim import rendering
from serl.teleop import scripted

EPISODES = 5
IMAGES = 100
SIZES = (128, 64)


def make_vision(size: int):
  config = dataclasses.replace(pick_cube.VISION, image_size=size)
  return pick_cube.make_vision(seed=0, config=config)


def expert_steps(size: int, clock: Callable[[], float]) -> tuple[float, int]:
  """Returns the steps a second, resets included, and the cubes lifted."""
  environment = make_vision(size)
  expert = scripted.PickCubeExpert(environment=environment)
  environment.reset()  # makes the renderer
  durations, successes = [], 0
  for _ in range(EPISODES):
    start = clock()
    timestep = environment.reset()
    expert.observe_first(timestep)
    while not timestep.last():
      timestep = environment.step(expert.select_action(timestep.observation))
    durations.append(clock() - start)
    successes += int(environment.episode_metrics()['success'])
  environment.close()
  steps = pick_cube.VISION.episode_steps
  return steps / statistics.median(durations), successes


def image_ms(size: int, camera: str, look: rendering.Look) -> float:
  """Returns the median time of one image of the start, ms."""
  environment = pick_cube.PickCube(seed=0)
  environment.reset()
  renderer = rendering.Renderer(environment.model, size, size, look)
  repeats = IMAGES if look == rendering.FAST else IMAGES // 10
  durations = []
  for _ in range(repeats):
    start = time.perf_counter()
    renderer.render(environment.data, camera)
    durations.append(time.perf_counter() - start)
  renderer.close()
  return 1e3 * statistics.median(durations)


def main() -> None:
  start = time.perf_counter()
  environment = make_vision(128)
  image = environment.reset().observation['front']
  make_s = time.perf_counter() - start
  environment.close()
  product_ms = report.product_ms()
  figures = {}
  for size in SIZES:
    steps_per_second, successes = expert_steps(size, time.perf_counter)
    # What an idle core would do: without the time that others had it.
    steps_per_cpu_second, _ = expert_steps(size, time.process_time)
    figures |= {
      f'steps_per_second_{size}': steps_per_second,
      f'steps_per_cpu_second_{size}': steps_per_cpu_second,
      f'steps_per_product_{size}': steps_per_second * product_ms / 1e3,
      f'expert_successes_{size}': successes,
    }
    for camera in pick_cube.VISION.cameras:
      figures[f'{camera}_image_ms_{size}'] = image_ms(
        size, camera, rendering.FAST
      )
  front_ms = figures['front_image_ms_128']
  report.emit(
    'pick_cube_vision',
    cameras=len(pick_cube.VISION.cameras),
    reference_steps_per_second_128=3,
    asked_steps_per_second_128=80,
    **figures,
    products_per_image_128=front_ms / product_ms,
    full_look_image_ms_128=image_ms(128, 'front', rendering.FULL),
    product_ms=product_ms,
    expert_episodes=EPISODES,
    make_s=make_s,
    backend=opengl.choose_backend(),
    image_bytes=int(np.prod(image.shape)),
  )


if __name__ == '__main__':
  main()
