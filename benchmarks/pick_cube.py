"""How many steps a second PickCube makes from state, on one thread.

python benchmarks/pick_cube.py
"""

from collections.abc import Callable
import statistics
import time

import numpy as np
import report

from serl.environments.sim import pick_cube
from serl.teleop import scripted

EPISODES = 20
EXPERT_EPISODES = 100


def random_steps(clock: Callable[[], float]) -> tuple[float, float]:
  """Returns the steps a second, resets included, and the ms of an episode."""
  environment = pick_cube.make(seed=0)
  environment.reset()
  steps = pick_cube.Config().episode_steps
  actions = np.random.default_rng(0).uniform(-1, 1, (steps, 4))
  durations = []
  for _ in range(EPISODES):
    start = clock()
    environment.reset()
    for action in actions:
      environment.step(action)
    durations.append(clock() - start)
  median = statistics.median(durations)
  return steps / median, 1e3 * median


def expert_returns(noise: float) -> tuple[list[float], int]:
  """Returns each episode's return, and how many lifted the cube."""
  environment = pick_cube.make(seed=0)
  expert = scripted.PickCubeExpert(noise, seed=0)
  returns, successes = [], 0
  for _ in range(EXPERT_EPISODES):
    timestep = environment.reset()
    expert.observe_first(timestep)
    total = 0.0
    while not timestep.last():
      timestep = environment.step(expert.select_action(timestep.observation))
      total += float(timestep.reward)
    returns.append(total)
    successes += int(environment.episode_metrics()['success'])
  return returns, successes


def main() -> None:
  start = time.perf_counter()
  pick_cube.make(seed=0)
  make_s = time.perf_counter() - start
  steps_per_second, episode_ms = random_steps(time.perf_counter)
  # What an idle core would do: without the time that others had it.
  steps_per_cpu_second, _ = random_steps(time.thread_time)
  product_ms = report.product_ms()
  returns, successes = expert_returns(noise=0.0)
  noisy_returns, noisy_successes = expert_returns(noise=0.05)
  report.emit(
    'pick_cube_state',
    steps_per_second=steps_per_second,
    steps_per_cpu_second=steps_per_cpu_second,
    reference_steps_per_second=318,
    asked_steps_per_second=2000,
    steps_per_product=steps_per_second * product_ms / 1e3,
    product_ms=product_ms,
    episode_ms=episode_ms,
    make_s=make_s,
    expert_episodes=EXPERT_EPISODES,
    expert_successes=successes,
    expert_return_mean=statistics.mean(returns),
    expert_return_min=min(returns),
    noisy_expert_successes=noisy_successes,
    noisy_expert_return_mean=statistics.mean(noisy_returns),
    noisy_expert_return_min=min(noisy_returns),
  )


if __name__ == '__main__':
  main()
