"""How many control steps a second the twin makes, and whether the peg goes in.

python benchmarks/twin.py
"""

from collections.abc import Callable
import dataclasses
import statistics
import time

import numpy as np
import report

from robot_server import limits
from robot_server import testing
from serl.environments.franka import client
from serl.environments.franka import environment as environment_lib
from serl.environments.sim import insertion
from serl.teleop import insertion as expert_lib

STEPS = 300
REPEATS = 5
EPISODES = 20
PERIOD = 0.1  # s, of a control step
CLEARANCES = (0.001, 0.0005, 0.00025)  # m a side
RESETS = 10


def driver_steps(clock: Callable[[], float]) -> float:
  """Returns the steps a second of a raw loop: command, sleep, read."""
  twin = insertion.Insertion().twin
  centre = twin.read_state().pose
  rng = np.random.default_rng(0)
  rates = []
  for _ in range(REPEATS):
    start = clock()
    for _ in range(STEPS):
      pose = centre.copy()
      pose[:3] += rng.uniform(-0.02, 0.02, 3)
      twin.command_pose(pose)
      twin.clock.sleep_until(twin.now() + PERIOD)
      twin.read_state()
    rates.append(STEPS / (clock() - start))
  return statistics.median(rates)


def environment_steps(clock: Callable[[], float]) -> float:
  """Returns the same of random actions in the environment, without resets."""
  return _episode_rate(insertion.make(seed=0), 6, clock)


def http_steps() -> float:
  """Returns the same through the server and its client, on the loopback."""
  scene = insertion.Insertion()
  # Slower than real time the watchdog must not mind, nor random actions.
  with testing.serving(scene.twin, limits.Limits()) as url:
    robot = client.HttpRobot(url, now=scene.twin.now)
    environment = environment_lib.FrankaEnvironment(
      scene.task, robot, {}, scene.twin.clock
    )
    rate = _episode_rate(environment, 7, time.perf_counter)
    robot.close()
  return rate


def _episode_rate(environment, size: int, clock: Callable[[], float]) -> float:
  rng = np.random.default_rng(0)
  rates = []
  for _ in range(REPEATS):
    timestep = environment.reset()
    start, steps = clock(), 0
    while not timestep.last():
      action = rng.uniform(-1, 1, size)
      action[6:] = 0.0  # the gripper
      timestep = environment.step(action.astype(np.float32))
      steps += 1
    rates.append(steps / (clock() - start))
  return statistics.median(rates)


def insertions(clearance: float) -> tuple[int, float]:
  """Returns in how many of the episodes the expert inserts, and mean steps."""
  environment = insertion.make(
    seed=0, config=dataclasses.replace(insertion.PEG, clearance=clearance)
  )
  expert = expert_lib.InsertionExpert(environment=environment)
  successes, steps = 0, 0
  for _ in range(EPISODES):
    timestep = environment.reset()
    expert.observe_first(timestep)
    while not timestep.last():
      timestep = environment.step(expert.select_action(timestep.observation))
      steps += 1
    successes += int(timestep.reward)
  return successes, steps / EPISODES


def reset_error_mm() -> float:
  """Returns how far from reset poses the precision parameters end, 1 s after.

  The largest of several moves of 1.5 s.
  """
  scene = insertion.Insertion()
  twin, task = scene.twin, scene.task
  rng = np.random.default_rng(0)
  twin.set_compliance(dataclasses.asdict(task.precision))
  errors = []
  for _ in range(RESETS):
    start = twin.read_state().pose
    offset = rng.uniform((-0.05, -0.05, -0.05), (0.05, 0.05, 0.05))
    goal = scene.target
    goal[:3] += offset + (0.0, 0.0, 0.15)
    for share in np.arange(1, 16) / 15:
      pose = start + share * (goal - start)
      pose[3:] /= np.linalg.norm(pose[3:])
      twin.command_pose(pose)
      twin.clock.sleep_until(twin.now() + PERIOD)
    twin.clock.sleep_until(twin.now() + 1.0)
    errors.append(np.abs(twin.read_state().pose[:3] - goal[:3]).max())
  return 1e3 * max(errors)


def main() -> None:
  steps_per_second = driver_steps(time.perf_counter)
  product_ms = report.product_ms()
  figures = {}
  for clearance in CLEARANCES:
    successes, steps = insertions(clearance)
    name = f'{1e3 * clearance:g}mm'
    figures[f'insertions_{name}'] = successes
    figures[f'insertion_steps_{name}'] = steps
  report.emit(
    'twin',
    steps_per_second=steps_per_second,
    # What an idle core would do: without the time that others had it.
    steps_per_cpu_second=driver_steps(time.thread_time),
    asked_steps_per_second=300,
    steps_per_product=steps_per_second * product_ms / 1e3,
    product_ms=product_ms,
    environment_steps_per_second=environment_steps(time.perf_counter),
    environment_steps_per_cpu_second=environment_steps(time.thread_time),
    http_steps_per_second=http_steps(),
    asked_http_steps_per_second=100,
    episodes=EPISODES,
    **figures,
    reset_error_mm=reset_error_mm(),
  )


if __name__ == '__main__':
  main()
