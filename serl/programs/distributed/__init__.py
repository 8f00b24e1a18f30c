"""The Launchpad program of a run, and what launches and supervises it.

The only home of Launchpad, whose library is found here before it is imported.
"""

import ctypes
import pathlib
import sysconfig


def _library_folder() -> str | None:
  """Returns where libpython is, for an interpreter that was linked without.

  Launchpad's extensions ask for the shared library by name. The process that
  launches has it loaded here; its nodes find it by LD_LIBRARY_PATH.
  """
  folder = sysconfig.get_config_var('LIBDIR')
  name = sysconfig.get_config_var('INSTSONAME')
  path = pathlib.Path(folder or '', name or '')
  if not path.is_file() or '.so' not in path.name:
    return None
  ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
  return folder


LIBRARY_FOLDER = _library_folder()
