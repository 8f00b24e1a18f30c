"""Measures how exactly the control loop keeps its 10 Hz, through the server.

python benchmarks/jitter.py [--minutes=5]

The arm is one without dynamics in another process; HTTP, server, governor and
environment are the real ones. Run it beside what else the machine has to do.
"""

import argparse
from collections.abc import Sequence
import contextlib
import dataclasses
import multiprocessing
from multiprocessing import connection as connection_lib

import numpy as np
import report

from robot_server import testing
from serl.environments.franka import client
from serl.environments.franka import environment as environment_lib
from serl.environments.franka import robot as robot_lib
from serl.environments.franka.tasks import peg_insert
from serl.tools import latency


def _serve(pipe: connection_lib.Connection) -> None:
  # It stands for one on another computer.
  robot_lib.take_precedence()
  with testing.serving(testing.KinematicDriver()) as url:
    pipe.send(url)
    pipe.recv()


@contextlib.contextmanager
def _server():
  """Serves an arm from another process; yields the server's address."""
  context = multiprocessing.get_context('spawn')
  here, there = context.Pipe()
  process = context.Process(target=_serve, args=(there,), daemon=True)
  process.start()
  try:
    yield here.recv()
  finally:
    here.send('stop')
    process.join(10)


def measure(minutes: float) -> dict[str, np.ndarray]:
  """Returns what the steps took, [N] ms each; see `latency.durations`."""
  config = dataclasses.replace(
    peg_insert.STATE,
    # Where the arm without dynamics is: the resets are not of interest.
    reset=(0.5, 0.0, 0.3, 3.14, 0.0, 0.0),
    random_xy=0.0,
    lift=0.0,
    episode_steps=max(2, round(600 * minutes)),
  )
  clock = robot_lib.RealTimeClock()
  with _server() as url:
    robot_lib.take_precedence()
    environment = environment_lib.FrankaEnvironment(
      config, client.HttpRobot(url), {}, clock
    )
    timestep = environment.reset()
    action = np.zeros(7, np.float32)
    rows = []
    while not timestep.last():
      timestep = environment.step(action)
      rows.append(environment.step_extras())
    environment.close()
  extras = {name: np.array([row[name] for row in rows]) for name in rows[0]}
  return latency.durations(extras)


def main(arguments: Sequence[str] | None = None) -> None:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--minutes', type=float, default=5.0)
  flags = parser.parse_args(arguments)
  steps = measure(flags.minutes)
  periods = steps[latency.PERIOD]
  jitter = np.abs(periods[np.isfinite(periods)] - 100.0)
  cost = steps[latency.COMMAND]
  report.emit(
    'control_loop_10hz',
    minutes=flags.minutes,
    steps=len(steps['late']),
    late_steps=int(steps['late'].sum()),
    jitter_p50_ms=float(np.percentile(jitter, 50)),
    jitter_p99_ms=float(np.percentile(jitter, 99)),
    jitter_max_ms=float(jitter.max()),
    asked_jitter_p99_ms=10.0,
    command_p50_ms=float(np.percentile(cost, 50)),
    command_p99_ms=float(np.percentile(cost, 99)),
  )


if __name__ == '__main__':
  main()
