"""Converts a reward classifier that SERL's code has trained.

IN is what SERL's train_reward_classifier.py wrote by flax: the folder, or one
checkpoint_STEP of it, a file or a folder of orbax. Nothing that stands in it is
run. OUT is FOLDER/classifier.safetensors: examples take it by
--classifier=FOLDER, `classifier.load` by its path.

A checkpoint holds neither the order of the cameras nor the threshold: give what
SERL was run with where that is not the default.
"""

import argparse
from collections.abc import Sequence
import pathlib
import pickle

from serl.agents import classifier
from serl.agents.classifier import importing
from serl.utils import environment_variables
from serl.utils import flax_checkpoint


def main(arguments: Sequence[str] | None = None) -> None:
  """Converts what `arguments` name and tells what it is now."""
  parser = argparse.ArgumentParser(
    prog='python -m serl.tools.convert_classifier',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('source', metavar='IN', type=pathlib.Path)
  parser.add_argument('target', metavar='OUT', type=pathlib.Path)
  parser.add_argument(
    '--cameras',
    metavar='NAME,NAME',
    type=lambda text: text.split(','),
    help="in the order of SERL's image_keys (default: sorted, as SERL's own "
    'scripts have them); another order gives other rewards',
  )
  parser.add_argument(
    '--image-size',
    metavar='PIXELS',
    type=int,
    help='height and width (default: what the arrays ask for, 128 for those '
    "of SERL's)",
  )
  parser.add_argument(
    '--threshold',
    type=float,
    default=0.5,
    help='above it a probability is success (default: %(default)s, as in SERL)',
  )
  parser.add_argument(
    '--weights',
    metavar='FILE',
    help='resnet10_params.pkl, for a checkpoint without the frozen weights',
  )
  flags = parser.parse_args(arguments)
  environment_variables.check_devices()
  try:
    arrays = flax_checkpoint.load_params(flags.source)
    made = importing.from_serl(
      arrays,
      flags.source,
      flags.cameras,
      flags.image_size,
      flags.threshold,
      flags.weights,
    )
    classifier.save(flags.target, made)
  except (OSError, ValueError, pickle.UnpicklingError) as error:
    parser.error(str(error))
  images = made.networks.image_spec
  shown = ', '.join(f'{path} {list(x.shape)}' for path, x in images.items())
  order = ', '.join(flags.cameras or images)
  print(
    f'{flags.target}: success above {made.threshold:g} by the images {shown}; '
    f"SERL's image_keys are taken for {order}. Test it on episodes with labels:"
    f'\n  python -m serl.tools.test_classifier {flags.target} DATA'
  )


if __name__ == '__main__':
  main()
