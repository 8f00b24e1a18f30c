"""Tests a reward classifier: python -m serl.tools.test_classifier FILE DATA.

DATA is a folder of episodes with labels that the classifier was not trained
with. Writes report.json and report.png.
"""

import argparse
from collections.abc import Sequence
import pathlib

from serl.agents import classifier
from serl.agents.classifier import report as report_lib
from serl.agents.classifier import training
from serl.demos import recording
from serl.utils import environment_variables


def main(arguments: Sequence[str] | None = None) -> None:
  """Tests what `arguments` name and prints the numbers and the files."""
  parser = argparse.ArgumentParser(
    prog='python -m serl.tools.test_classifier',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('classifier', metavar='FILE', type=pathlib.Path)
  parser.add_argument('data', metavar='DATA', type=pathlib.Path)
  parser.add_argument(
    '--threshold', type=float, help="default: the classifier's own"
  )
  parser.add_argument(
    '--weights', help='file of the frozen weights, if it was trained on any'
  )
  parser.add_argument(
    '--output',
    metavar='FOLDER',
    type=pathlib.Path,
    default=pathlib.Path('test_classifier'),
    help='of the report (default: %(default)s)',
  )
  flags = parser.parse_args(arguments)
  environment_variables.check_devices()
  try:
    trained = classifier.load(flags.classifier, weights=flags.weights)
    episodes = recording.load(flags.data)
    report = training.test(trained, episodes, threshold=flags.threshold)
  except (ValueError, OSError) as error:
    parser.error(str(error))
  for name, value in report.describe().items():
    print(f'{name}: {value}')
  print(*report_lib.write(report, flags.output), sep='\n')


if __name__ == '__main__':
  main()
