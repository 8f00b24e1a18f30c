"""Evaluates a checkpoint of a run that an example here has trained.

Prints the success rate with its 95 % interval (Wilson) and the cycle time, and
writes both, and with --video a film, to evaluations/ in the run's folder. No
file that the run folder names is run: name the FILE.py of a task yourself. More
flags of the program that trained the run can follow after --.
"""

import os
import pathlib
import sys

from absl import app
from absl import flags

from serl.programs import relaunch
from serl.programs import run_folder

_HERE = pathlib.Path(__file__).resolve().parent
_RUN = flags.DEFINE_string('run', None, 'Folder of the run.', required=True)
_EPISODES = flags.DEFINE_integer(
  'episodes', 20, 'Episodes to run, from seeds of their own.', lower_bound=1
)
_STEP = flags.DEFINE_string(
  'step',
  None,
  'Learner step of the checkpoint, by default the best policy; of one of two '
  'directions forward:STEP or backward:STEP.',
)
_TASK = flags.DEFINE_string(
  'task', None, 'The FILE.py of the task, for a run that was trained on one.'
)
_VIDEO = flags.DEFINE_bool('video', False, 'Film the episodes.')


def main(argv):
  given = argv[1:]
  if _TASK.value is not None:
    given = [f'--task={_TASK.value}', *given]
  try:
    command = relaunch.command_line(
      pathlib.Path(_RUN.value), _HERE, flags=given
    )
  except run_folder.AnotherRunError as error:
    sys.exit(str(error))
  command.append(f'--evaluate={_EPISODES.value}')
  if _STEP.value is not None:
    command.append(f'--step={_STEP.value}')
  if _VIDEO.value:
    command.append('--video')
  # In this process's place: a Ctrl-C is the program's, to close what is open.
  os.execv(command[0], command)


if __name__ == '__main__':
  app.run(main)
