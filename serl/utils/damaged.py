"""Damaged parts of a run: set aside in its folder, never deleted.

ROOT/damaged holds each of them under the path that it had below ROOT, and
reasons.txt, with a line for each.
"""

from collections.abc import Callable
import os
import pathlib

from absl import logging

from serl.utils import tail

_FOLDER = 'damaged'
_REASONS = 'reasons.txt'


def set_aside(
  path: pathlib.Path,
  root: pathlib.Path,
  reason: str,
  move: Callable[[pathlib.Path, pathlib.Path], None] = os.rename,
) -> None:
  """Moves a damaged file or folder out of the way and logs an error.

  Where it cannot be moved it stays, which is logged too.

  Args:
    path: of the file or folder, below `root`.
    root: of what it belongs to, such as a run's folder.
    reason: what is wrong with it.
    move: `os.link` for a file that is replaced afterwards.
  """
  part = path.relative_to(root)
  reason = ' '.join(reason.removeprefix(f'{path}: ').split())
  aside = root / _FOLDER / part
  number = 0
  while os.path.lexists(aside):
    number += 1
    aside = aside.with_name(f'{path.name}.{number}')
  try:
    aside.parent.mkdir(parents=True, exist_ok=True)
    move(path, aside)
    line = f'{part}: {reason}; set aside as {aside.relative_to(root)}'
    with open(root / _FOLDER / _REASONS, 'a', encoding='utf-8') as file:
      file.write(f'{line}\n')
  except OSError as error:
    line = f'{part}: {reason}; not used, and not moved ({error.strerror})'
  logging.error('DAMAGED: %s', line)


def count(root: pathlib.Path, kind: str) -> int:
  """Returns how much of a kind was set aside.

  Args:
    root: as in `set_aside`.
    kind: a pattern of paths below it, as 'episodes/*/*'.
  """
  return sum(1 for _ in (root / _FOLDER).glob(kind))


class Reasons:
  """Follows what is set aside from now on."""

  def __init__(self, root: pathlib.Path):
    """Initialises the follower; nothing need have been set aside yet."""
    path = root / _FOLDER / _REASONS
    self._tail = tail.Tail(path, path.stat().st_size if path.exists() else 0)

  def poll(self) -> list[str]:
    """Returns the lines since the last call."""
    return [line.decode(errors='replace') for line in self._tail.poll()]
