"""The cost of a control step over HTTP: a command in, a fresh state out.

python benchmarks/http_step.py

The server stands in a process of its own, over an arm without dynamics, behind
waitress on the loopback. Each way is timed in turns with the others:
  step: one /step of one kept-alive client;
  five_calls: SERL's step, one /pose and four /getstate, by the same client;
  five_connections: the same by calls that each open a connection, as SERL's do.
"""

import multiprocessing
from multiprocessing import connection
import statistics
import time

import report
import requests

from robot_server import testing

_POSE = [0.5, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0]
_REPEATS = 300
_STATES = 4  # SERL's environment asks for so many in a step


def _serve(pipe: connection.Connection) -> None:
  """Serves until somebody writes to the pipe."""
  with testing.serving(testing.KinematicDriver()) as url:
    pipe.send(url)
    pipe.recv()


def _post(client, url: str, body: dict | None = None) -> None:
  client.post(url, json=body, timeout=10).raise_for_status()


def _five(client, url: str) -> None:
  _post(client, url + 'pose', {'arr': _POSE})
  for _ in range(_STATES):
    _post(client, url + 'getstate')


def main() -> None:
  context = multiprocessing.get_context('spawn')
  pipe, other = context.Pipe()
  server = context.Process(target=_serve, args=(other,), daemon=True)
  server.start()
  url = pipe.recv()
  session = requests.Session()
  ways = {
    'step': lambda: _post(session, url + 'step', {'arr': _POSE}),
    'five_calls': lambda: _five(session, url),
    'five_connections': lambda: _five(requests, url),
  }
  durations = {name: [] for name in ways}
  for _ in range(_REPEATS):
    for name, way in ways.items():
      start = time.perf_counter()
      way()
      durations[name].append(1e3 * (time.perf_counter() - start))
  pipe.send('end')
  server.join()
  figures = {}
  for name, times in durations.items():
    # The first ones open connections.
    times = sorted(times[5:])
    figures[f'{name}_ms'] = statistics.median(times)
    figures[f'{name}_p99_ms'] = times[int(0.99 * len(times))]
  report.emit('http_step', repeats=_REPEATS, **figures)


if __name__ == '__main__':
  main()
