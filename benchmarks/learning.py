"""How long an example takes until the evaluator sees 20 of 20 lifts.

python benchmarks/learning.py --example=rlpd_state_sim --seeds=0,1,2

The time is the user's: from the command to the end of that sweep, with the
recording of demonstrations, the start of all processes and compilation.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import time

from absl import app
from absl import flags
import report

from serl.utils import loggers
from serl.utils import plotting

_EXAMPLE = flags.DEFINE_string('example', 'rlpd_state_sim', 'Its name.')
_SEEDS = flags.DEFINE_list('seeds', ['0', '1', '2'], 'Seeds, one run each.')
_MINUTES = flags.DEFINE_float('minutes', 15, 'Limit of each run.')
_FOLDER = flags.DEFINE_string('folder', 'runs/benchmark', 'For the runs.')
_ARGS = flags.DEFINE_string(
  'args', '--nokeep-ratio', 'More flags for the example; as `make quickstart`.'
)

_EXAMPLES = pathlib.Path(__file__).parent.parent / 'examples'


def run(seed: str, folder: pathlib.Path) -> dict:
  """Runs the example with one seed and returns what it came to."""
  began = time.time()
  subprocess.run(
    [
      sys.executable,
      _EXAMPLES / f'{_EXAMPLE.value}.py',
      f'--run={folder}',
      f'--seed={seed}',
      f'--minutes={_MINUTES.value}',
      *_ARGS.value.split(),
    ],
    stdout=sys.stderr,
    check=True,
  )
  sweeps = loggers.read_metrics(folder, 'evaluator')
  seen = [sweep for sweep in sweeps if sweep['success'] == 1]
  learner = loggers.read_metrics(folder, 'learner')[-1]
  return {
    'seed': int(seed),
    'seconds_to_20_of_20': seen[0]['time'] - began if seen else None,
    'seconds': time.time() - began,
    'best_success': max(sweep['success'] for sweep in sweeps),
    'last_success': sweeps[-1]['success'],
    'env_steps': learner['env_steps'],
    'learner_steps': learner['learner_steps'],
    'updates_per_step': learner['updates_per_step'],
    'updates_per_step_asked': learner['updates_per_step_asked'],
    'load_after': os.getloadavg(),
  }


def main(_):
  folder = pathlib.Path(_FOLDER.value)
  folders = [folder / f'{_EXAMPLE.value}_{seed}' for seed in _SEEDS.value]
  product_ms = report.product_ms()
  runs = []
  for seed, run_folder in zip(_SEEDS.value, folders):
    runs.append(run(seed, run_folder))
    report.emit(_EXAMPLE.value, product_ms=product_ms, **runs[-1])
  times = [r['seconds_to_20_of_20'] or float('inf') for r in runs]
  median = statistics.median(times)
  report.emit(
    f'{_EXAMPLE.value}_median',
    product_ms=product_ms,
    seconds_to_20_of_20=median if median < float('inf') else None,
    seeds=len(runs),
  )
  plotting.learning_curve(folders, folder / f'{_EXAMPLE.value}.png')


if __name__ == '__main__':
  app.run(main)
