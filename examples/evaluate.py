"""Evaluates a checkpoint of a run that an example here has trained.

Prints the success rate with its 95 % interval (Wilson) and the cycle time, and
writes both, and with --video a film, to evaluations/ in the run's folder.
"""

import pathlib
import subprocess
import sys

from absl import app
from absl import flags

from serl.programs import run_folder

_HERE = pathlib.Path(__file__).resolve().parent
_RUN = flags.DEFINE_string('run', None, 'Folder of the run.', required=True)
_EPISODES = flags.DEFINE_integer(
  'episodes', 20, 'Episodes to run, from seeds of their own.', lower_bound=1
)
_STEP = flags.DEFINE_integer(
  'step', None, 'Learner step of the checkpoint; by default the best policy.'
)
_VIDEO = flags.DEFINE_bool('video', False, 'Film the episodes.')


def main(_):
  try:
    name, *arguments = run_folder.command(pathlib.Path(_RUN.value))
  except run_folder.AnotherRunError as error:
    sys.exit(str(error))
  example = _HERE / name
  # A name alone: a folder may come from anybody, and runs nothing else.
  if example.parent != _HERE or not example.is_file():
    sys.exit(
      f'{_RUN.value} was trained by {name}, which is not in {_HERE}. Call that '
      'program with its own flags and --evaluate=20, or '
      'programs.evaluate(config) in code.'
    )
  # The last of two equal flags counts. The flags that trained the run make its
  # agent and environment again.
  arguments += [f'--run={_RUN.value}', f'--evaluate={_EPISODES.value}']
  if _STEP.value is not None:
    arguments.append(f'--step={_STEP.value}')
  if _VIDEO.value:
    arguments.append('--video')
  command = [sys.executable, str(example), *arguments]
  sys.exit(subprocess.run(command, check=False).returncode)


if __name__ == '__main__':
  app.run(main)
