"""Converts pretrained ResNet-10 weights to safetensors.

Usage: python -m serl.tools.convert_weights IN OUT

IN is SERL's resnet10_params.pkl; nothing that stands in it is run. OUT is a
.safetensors file of the trunk's arrays under the same names, which
`EncoderConfig.weights` takes as well.

Exits with 0 if OUT was written and 2 if not.
"""

from collections.abc import Sequence
import pathlib
import pickle
import sys

from absl import app
import safetensors
import safetensors.numpy

from serl.networks import pretrained


def main(argv: Sequence[str]) -> int:
  """Converts one file; returns the exit code."""
  if len(argv) != 3:
    print(f'Expected IN and OUT, got {list(argv[1:])}.', file=sys.stderr)
    return 2
  source, target = argv[1], pathlib.Path(argv[2])
  if target.suffix != '.safetensors':
    print(f'OUT is {target}, expected a .safetensors file.', file=sys.stderr)
    return 2
  try:
    arrays = pretrained.read_arrays(source)
    pretrained.from_arrays(arrays, source)  # refuses what could not be loaded
    arrays = {name: arrays[name] for name in pretrained.expected_arrays()}
    target.parent.mkdir(parents=True, exist_ok=True)
    safetensors.numpy.save_file(arrays, target)
  except (
    OSError,
    ValueError,
    pickle.UnpicklingError,
    safetensors.SafetensorError,
  ) as error:
    print(f'Cannot convert {source}: {error}', file=sys.stderr)
    return 2
  print(f'{target}: {len(arrays)} arrays, {target.stat().st_size:,} bytes.')
  return 0


if __name__ == '__main__':
  app.run(main)
