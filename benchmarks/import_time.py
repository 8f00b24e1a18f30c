"""Times what importing serl costs beyond importing JAX and Haiku.

python -m benchmarks.import_time
"""

import json
import pathlib
import statistics
import subprocess
import sys

import report

ROOT = pathlib.Path(__file__).parents[1]

# In a fresh interpreter: seconds to import the given modules after JAX.
PROBE = """
import importlib, json, sys, time
import haiku, jax
start = time.perf_counter()
for module in json.loads(sys.argv[1]):
  importlib.import_module(module)
print(time.perf_counter() - start)
"""


def modules_in(folder: pathlib.Path) -> list[str]:
  return [
    '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    for path in sorted(folder.rglob('*.py'))
    if path.name != '__init__.py'
  ]


def seconds_to_import(modules: list[str]) -> float:
  probe = subprocess.run(
    [sys.executable, '-c', PROBE, json.dumps(modules)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  return float(probe.stdout)


def main() -> None:
  modules = [
    'serl',
    *modules_in(ROOT / 'serl/agents'),
    *modules_in(ROOT / 'serl/environments'),
  ]
  runs = [seconds_to_import(modules) for _ in range(3)]
  report.emit(
    'import_time',
    seconds=statistics.median(runs),
    asked_seconds=3.0,
    modules=len(modules),
  )


if __name__ == '__main__':
  main()
