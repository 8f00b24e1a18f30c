"""Folders that appear whole or not at all."""

from collections.abc import Iterator
import contextlib
import os
import pathlib
import shutil


@contextlib.contextmanager
def new(folder: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Gives a hidden folder to fill, which becomes `folder` when that went well.

  Args:
    folder: that must not be there yet; the one that it is in is made.

  Raises:
    FileExistsError: it is there; nothing is overwritten.
  """
  folder = pathlib.Path(folder)
  if os.path.lexists(folder):
    raise FileExistsError(
      f'{folder} exists and is not overwritten; choose another name'
    )
  unfinished = folder.absolute().with_name(f'.{folder.name}.{os.getpid()}.tmp')
  unfinished.mkdir(parents=True)
  try:
    yield unfinished
    # A rename replaces no file and no folder that has something in it.
    os.rename(unfinished, folder)
  except BaseException:
    shutil.rmtree(unfinished, ignore_errors=True)
    raise
