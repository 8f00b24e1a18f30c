"""Compares this code with a file of the reference's recorded numbers.

Usage: python -m serl.tools.parity FILE [--tolerance=1e-5] [--weights=PATH]

The file's name does not matter: its kind is told from what it holds.

The error of an array is max |ours - theirs| / max |theirs| over its elements,
where theirs are all zero max |ours|; anything not finite and any other shape
counts as infinite. Prints the largest error of every group of the file.

Exits with 0 if all errors are within the tolerance, 1 if not, 2 if the file
cannot be read or is of an unknown kind.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
import pathlib
import pickle
import re
import sys
from typing import Any, NamedTuple
import zipfile

from absl import app
from absl import flags
import jax
import numpy as np

from serl.demos import archives
from serl.tools import golden_classifier
from serl.tools import golden_drq
from serl.tools import golden_encoders
from serl.tools import golden_sac
from serl.utils import environment_variables
from serl.utils import regular_file

_TOLERANCE = flags.DEFINE_float(
  'tolerance', 1e-5, 'The largest relative error to accept.', lower_bound=0
)
_WEIGHTS = flags.DEFINE_string(
  'weights',
  None,
  "The pretrained trunk's weights, for the files that need them; "
  'resnet10_params.pkl beside FILE by default.',
)

Golden = Mapping[str, np.ndarray]


class Kind(NamedTuple):
  """A kind of golden file."""

  is_golden: Callable[[Golden], bool]
  # golden -> (group, key in the file, what this code computes for it)
  replay: Callable[[Golden], Iterator[tuple[str, str, Any]]]
  # Keys of what `replay` reads instead of computing it.
  inputs: re.Pattern


KINDS = {
  'sac': Kind(golden_sac.is_golden, golden_sac.replay, golden_sac.INPUTS),
  'drq': Kind(golden_drq.is_golden, golden_drq.replay, golden_drq.INPUTS),
  'reward_classifier': Kind(
    golden_classifier.is_golden,
    golden_classifier.replay,
    golden_classifier.INPUTS,
  ),
  'encoder or crop': Kind(
    golden_encoders.is_golden, golden_encoders.replay, golden_encoders.INPUTS
  ),
}


class Worst(NamedTuple):
  """The largest error of a group."""

  error: float
  key: str
  arrays: int  # how many were compared


class Comparison(NamedTuple):
  """What came of comparing a file."""

  groups: dict[str, Worst]
  skipped: list[str]  # keys that were neither compared nor inputs


def relative_error(ours: Any, theirs: Any) -> float:
  """Returns max |ours - theirs| / max |theirs|; see the module's docstring."""
  ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
  if ours.shape != theirs.shape:
    return np.inf
  if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
    return np.inf
  scale = np.max(np.abs(theirs), initial=0)
  error = np.max(np.abs(ours - theirs), initial=0)
  return float(error / scale if scale > 0 else error)


def find_kind(golden: Golden) -> Kind:
  """Returns the kind of a golden file.

  Raises:
    ValueError: if it is unknown.
  """
  for kind in KINDS.values():
    if kind.is_golden(golden):
      return kind
  raise ValueError(
    f'it is of none of the known kinds, {sorted(KINDS)}; '
    f'its first keys are {sorted(golden)[:5]}'
  )


def compare(
  golden: Golden,
  computed: Iterable[tuple[str, str, Any]],
  inputs: re.Pattern,
) -> Comparison:
  """Compares what this code computes with the arrays of a golden file.

  A group of which the file has nothing is left out; a key that is missing from
  a group that it does have counts as an infinite error. A key without a slash
  is a group of its own.

  Args:
    golden: the file's arrays by key.
    computed: group, key and value of each array that this code computes.
    inputs: matches the keys that are not to be compared.
  """
  groups: dict[str, Worst] = {}
  compared = set()
  recorded = {f'{key}/'[: i + 1] for key in golden for i in _slashes(f'{key}/')}
  for group, key, ours in computed:
    if f'{group}/' not in recorded:
      continue
    compared.add(key)
    error = relative_error(ours, golden[key]) if key in golden else np.inf
    worst = groups.get(group, Worst(-1.0, '', 0))
    if error > worst.error:
      worst = worst._replace(error=error, key=key)
    groups[group] = worst._replace(arrays=worst.arrays + 1)
  skipped = golden.keys() - compared
  return Comparison(
    groups, sorted(k for k in skipped if not inputs.fullmatch(k))
  )


def load(path: str) -> Golden:
  """Returns the arrays of an .npz file.

  Raises:
    OSError, ValueError, zipfile.BadZipFile: if it is not one or is torn.
  """
  with regular_file.open_bytes(path) as file:
    archives.check_members(file)
    with np.load(file, allow_pickle=False) as arrays:
      return {key: arrays[key] for key in arrays.files}


def report(comparison: Comparison, tolerance: float) -> str:
  """Returns the table of a comparison, the verdict in its last line."""
  lines = [f'{"group":32}{"arrays":>7}{"error":>12}  largest in']
  for group, worst in comparison.groups.items():
    mark = '' if worst.error <= tolerance else '  PAST THE TOLERANCE'
    lines.append(
      f'{group:32}{worst.arrays:7}{worst.error:12.2e}  '
      f'{worst.key.removeprefix(group + "/")}{mark}'
    )
  if comparison.skipped:
    kinds = sorted({re.sub(r'\d+', '*', key) for key in comparison.skipped})
    lines.append(f'not compared: {", ".join(kinds)}')
  past = sum(w.error > tolerance for w in comparison.groups.values())
  total = sum(w.arrays for w in comparison.groups.values())
  lines.append(
    f'{past} of {len(comparison.groups)} groups past the tolerance of '
    f'{tolerance:g} ({total} arrays compared)'
  )
  return '\n'.join(lines)


def _slashes(key: str) -> Iterator[int]:
  return (i for i, character in enumerate(key) if character == '/')


def main(argv: Sequence[str]) -> int:
  """Compares one file; returns the exit code."""
  if len(argv) != 2:
    print(f'Expected one FILE, got {list(argv[1:])}.', file=sys.stderr)
    return 2
  environment_variables.check_devices()
  # Accelerators would else round the products' inputs to fewer bits.
  jax.config.update('jax_default_matmul_precision', 'highest')
  try:
    golden = load(argv[1])
    kind = find_kind(golden)
    if golden_encoders.needs_weights(golden):
      weights = _WEIGHTS.value or pathlib.Path(argv[1]).with_name(
        'resnet10_params.pkl'
      )
      golden = {**golden, golden_encoders.WEIGHTS: np.array(str(weights))}
    comparison = compare(golden, kind.replay(golden), kind.inputs)
    if not comparison.groups:
      raise ValueError(
        f'it holds nothing to compare among {sorted(golden)[:5]}'
      )
  except KeyError as error:
    print(f'Cannot compare {argv[1]}: it lacks {error}.', file=sys.stderr)
    return 2
  # The last four are what networks make of arrays with unfit shapes and dtypes.
  except (
    OSError,
    EOFError,
    ValueError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    AssertionError,
    AttributeError,
    IndexError,
    TypeError,
  ) as error:
    told = str(error) or repr(error)
    print(f'Cannot compare {argv[1]}: {told}', file=sys.stderr)
    return 2
  tolerance = _TOLERANCE.value
  print(report(comparison, tolerance))
  worst = max(w.error for w in comparison.groups.values())
  return 0 if worst <= tolerance else 1


if __name__ == '__main__':
  app.run(main)
