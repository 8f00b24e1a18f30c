"""Draws the learning curves of runs: python -m serl.tools.plot RUN [RUN ...].

Several runs are drawn as several seeds, with their median.
"""

import argparse
from collections.abc import Sequence
import pathlib

from serl.utils import plotting

_NAME = 'learning_curve.png'


def main(arguments: Sequence[str] | None = None) -> None:
  """Draws the runs that `arguments` name and prints where the picture is."""
  parser = argparse.ArgumentParser(
    prog='python -m serl.tools.plot', description=__doc__.splitlines()[0]
  )
  parser.add_argument('runs', nargs='+', metavar='RUN', type=pathlib.Path)
  parser.add_argument(
    '--output',
    metavar='FILE.png',
    type=pathlib.Path,
    help=f'default: {_NAME} in the run, or here if there are several',
  )
  flags = parser.parse_args(arguments)
  output = flags.output
  if output is None:
    output = flags.runs[0] / _NAME if len(flags.runs) == 1 else _NAME
  try:
    plotting.learning_curve(flags.runs, output)
  except OSError as error:
    parser.error(str(error))
  print(output)


if __name__ == '__main__':
  main()
