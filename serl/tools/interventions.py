"""Draws how a person intervened in a run, and what their actions were worth.

  python -m serl.tools.interventions RUN

For each episode: the share of its steps that they overruled, how long an
intervention took, and the advantage of their actions over the policy's by the
critic of the last checkpoint. The example that trained the run makes its agent
again, by the flags of the run. No file that the run folder names is run: name
the FILE.py of a task, or a program of your own, yourself. Flags for it can
follow after --.
"""

import argparse
from collections.abc import Sequence
import pathlib
import subprocess
import sys

from serl.programs import relaunch
from serl.programs import run_folder

_EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / 'examples'


def main(arguments: Sequence[str] | None = None) -> int:
  """Draws the run that `arguments` name and returns the exit code."""
  parser = argparse.ArgumentParser(
    prog='python -m serl.tools.interventions',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('run', metavar='RUN', type=pathlib.Path)
  parser.add_argument(
    '--output',
    metavar='FILE.png',
    type=pathlib.Path,
    help='with the figures beside it as JSON, default: interventions.png in '
    'the run; of several tasks each has its name at the end',
  )
  parser.add_argument(
    '--program',
    metavar='FILE.py',
    type=pathlib.Path,
    help='a program of your own that trained the run, default: its example',
  )
  parser.add_argument(
    '--task',
    metavar='FILE.py',
    help='of the task, for a run that was trained on one',
  )
  options, given = parser.parse_known_args(arguments)
  given = [flag for flag in given if flag != '--']
  if options.task is not None:
    given.append(f'--task={options.task}')
  try:
    command = relaunch.command_line(
      options.run, _EXAMPLES, options.program, given
    )
  except run_folder.AnotherRunError as error:
    parser.error(str(error))
  picture = options.output or options.run / 'interventions.png'
  command.append(f'--interventions={picture}')
  return subprocess.run(command, check=False).returncode


if __name__ == '__main__':
  sys.exit(main())
