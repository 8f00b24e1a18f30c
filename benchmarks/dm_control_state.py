"""SAC from state on dm_control, beside the State SAC of a published table.

nice -n 19 python benchmarks/dm_control_state.py --results=runs/dm_control

The table is table 1 of CURL, Srinivas et al. 2020 (arXiv 2004.04136), the
scores at 100,000 environment steps: an agent's step is several of them, by the
task's action repeat. A score is the mean return of 10 episodes of the policy's
mode, of the last policy; the table has the median of the seeds and their range.

A seed that is finished is a file in the folder of results and is not run again;
one that was interrupted goes on. Each line that is printed is a finished seed.
"""

import dataclasses
import functools
import json
import os
import pathlib
import statistics
import sys
import time
from typing import NamedTuple

# One thread: networks this small gain nothing by two. Before JAX is imported.
os.environ.setdefault(
  'XLA_FLAGS',
  '--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1',
)

from absl import app
from absl import flags
import dm_env
import report

from serl import programs
from serl.agents import sac
from serl.environments import adapters
from serl.utils import loggers

_RESULTS = flags.DEFINE_string('results', 'runs/dm_control', 'For all files.')
_SEEDS = flags.DEFINE_list('seeds', ['0', '1', '2'], 'Seeds, a run each.')
_STEPS = flags.DEFINE_integer('steps', 100_000, 'Of the environment, a run.')


class Task(NamedTuple):
  """A task of the table."""

  domain: str
  name: str
  action_repeat: int
  published: str  # mean and standard deviation of State SAC


TASKS = {
  'cartpole_swingup': Task('cartpole', 'swingup', 8, '835 +- 22'),
  'reacher_easy': Task('reacher', 'easy', 4, '746 +- 25'),
  'ball_in_cup_catch': Task('ball_in_cup', 'catch', 4, '746 +- 91'),
  'cheetah_run': Task('cheetah', 'run', 4, '616 +- 18'),
  'walker_walk': Task('walker', 'walk', 2, '891 +- 82'),
}
_TASKS = flags.DEFINE_list('tasks', list(TASKS), 'Some of these, in order.')


def make_environment(task: str, seed: int) -> dm_env.Environment:
  """Returns an environment of the task of that name."""
  domain, name, action_repeat, _ = TASKS[task]
  return adapters.from_dm_control(domain, name, seed, action_repeat)


def agent() -> sac.SACConfig:
  """Returns SAC as published, with rates as in CURL's table 3."""
  return dataclasses.replace(
    sac.sac(),
    policy_learning_rate=1e-3,
    critic_learning_rate=1e-3,
    temperature_learning_rate=1e-3,
    initial_temperature=0.1,
  )


def run(task: str, seed: int, folder: pathlib.Path) -> dict:
  """Trains one seed of a task and returns its figures.

  Raises:
    SystemExit: the run was interrupted.
  """
  began = time.time()
  steps = _STEPS.value // TASKS[task].action_repeat
  programs.run_local(
    programs.RunConfig(
      run_dir=folder,
      make_environment=functools.partial(make_environment, task),
      builder=sac.SACBuilder(agent()),
      seed=seed,
      random_steps=1000,
      max_env_steps=steps,
      updates_per_step=1.0,
      evaluation_episodes=10,
      evaluation_period_s=1e6,  # once, at the end
      step_limit_s=600.0,
      reset_limit_s=600.0,
    )
  )
  sweeps = loggers.read_metrics(folder, 'evaluator')
  if not sweeps or sweeps[-1]['env_steps'] < steps:
    sys.exit(f'{folder} was interrupted: the same command goes on with it.')
  found = sweeps[-1]
  return {
    'task': task,
    'seed': seed,
    'return': found['episode_return'],
    'env_steps': int(found['env_steps']) * TASKS[task].action_repeat,
    'learner_steps': int(found['learner_steps']),
    'seconds': time.time() - began,
  }


def table(results: dict[str, list[float]]) -> str:
  """Returns the table of what there is, as Markdown."""
  lines = ['| task | State SAC, published | median | range | seeds |']
  lines.append('|---|---|---|---|---|')
  for name, returns in results.items():
    found = ' | | 0'
    if returns:
      found = (
        f'{statistics.median(returns):.0f} | '
        f'{min(returns):.0f} to {max(returns):.0f} | {len(returns)}'
      )
    lines.append(f'| {name} | {TASKS[name].published} | {found} |')
  return '\n'.join(lines)


def main(_):
  results: dict[str, list[float]] = {name: [] for name in _TASKS.value}
  folder = pathlib.Path(_RESULTS.value)
  for name in _TASKS.value:
    for seed in map(int, _SEEDS.value):
      path = folder / f'{name}_{seed}.json'
      if not path.exists():
        found = run(name, seed, folder / 'runs' / f'{name}_{seed}')
        report.emit('dm_control_state', **found)
        sys.stdout.flush()
        path.write_text(json.dumps(found))
      results[name].append(json.loads(path.read_text())['return'])
  sys.stdout.write(table(results) + '\n')


if __name__ == '__main__':
  app.run(main)
