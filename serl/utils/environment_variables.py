"""Environment variables that a program cannot run with, mended or refused.

Other libraries read theirs when they are imported or first used, and then end
with an error that names no variable, or abort the process. `prepare` comes
before those imports, `check_devices` before the first use of JAX.
"""

from collections.abc import Callable, Mapping
import functools
import importlib
import importlib.util
import io
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from typing import NamedTuple

# Names that a server of this machine is called by. Reverb's client is C++ and
# takes no setting of its own; gRPC compares the ends of names.
_HERE = ('localhost', '127.0.0.1', '[::1]')
_NO_GRPC_PROXY = 'no_grpc_proxy'
_OFF = ('', 'n', 'no', 'f', 'false', 'off', '0')
_ON = ('y', 'yes', 't', 'true', 'on', '1')
_DRAWN_BY = ('egl', 'osmesa', 'glfw')
_NOT_DRAWN = ('disable', 'disabled', 'off', 'false', '0')
_CIPHER_SUITE = re.compile(
  r'ECDHE-(ECDSA|RSA)-(AES128-GCM-SHA256|AES256-GCM-SHA384|CHACHA20-POLY1305)'
)
_PROBE = (
  'import jax; print(", ".join(sorted({d.platform for d in jax.devices()})))'
)
_PROBE_S = 120.0
# What decides about the devices that JAX starts.
_DEVICES = ('JAX_PLATFORMS', 'JAX_PLATFORM_NAME', 'XLA_FLAGS')


class VariableError(SystemExit, ValueError):
  """A variable has a value that nothing can run with.

  Where nobody catches it, Python ends with its message alone: it comes before a
  program could take care of its own errors.
  """


class _Rule(NamedTuple):
  """What a variable may be; unset is always right."""

  name: str
  is_right: Callable[[str], bool]
  expected: str


def _one_of(*values: str) -> Callable[[str], bool]:
  return lambda value: value.lower().strip() in values


def _is_share(value: str) -> bool:
  try:
    return 0 < float(value) < float('inf')
  except ValueError:
    return False


def _fits_this_python(value: str) -> bool:
  ours = f'{sys.version_info.major}.{sys.version_info.minor}'
  folders = re.findall(r'python(\d+\.\d+)[/\\](?:site|dist)-packages', value)
  return all(version == ours for version in folders)


def _raises_no_warnings(value: str) -> bool:
  return not any(
    action.split(':')[0].strip() and 'error'.startswith(action.split(':')[0])
    for action in value.split(',')
  )


_RULES = (
  # Before JAX is imported: the rest of JAX_* is left to JAX to parse.
  _Rule('JAX_ENABLE_X64', _one_of(*_OFF), '0: all is computed in 32 bits'),
  _Rule('JAX_ENABLE_CUSTOM_PRNG', _one_of(*_OFF), '0: keys are plain arrays'),
  _Rule('JAX_NUMPY_DTYPE_PROMOTION', _one_of('standard'), "'standard'"),
  _Rule(
    'JAX_NUMPY_RANK_PROMOTION', _one_of('allow', 'warn'), "'allow' or 'warn'"
  ),
  *(
    _Rule(
      f'JAX_TRANSFER_GUARD{direction}',
      _one_of('allow', 'log', 'log_explicit'),
      "'allow' or 'log'",
    )
    for direction in (
      '',
      '_HOST_TO_DEVICE',
      '_DEVICE_TO_HOST',
      '_DEVICE_TO_DEVICE',
    )
  ),
  *(
    _Rule(name, _is_share, 'a share of the memory, such as 0.4')
    for name in ('XLA_CLIENT_MEM_FRACTION', 'XLA_PYTHON_CLIENT_MEM_FRACTION')
  ),
  _Rule(
    'XLA_PYTHON_CLIENT_PREALLOCATE',
    _one_of('true', 'false', '1', '0'),
    "'true' or 'false'",
  ),
  _Rule(
    'XLA_PYTHON_CLIENT_ALLOCATOR',
    _one_of('default', 'platform', 'bfc', 'cuda_async'),
    "'default', 'platform', 'bfc' or 'cuda_async'",
  ),
  # gRPC aborts the process if it knows none of a list.
  _Rule(
    'GRPC_POLL_STRATEGY',
    lambda value: bool({'all', 'epoll1', 'poll'} & set(value.split(','))),
    "'all', 'epoll1' or 'poll'",
  ),
  # Where gRPC knows none of a list, no call between the nodes is possible.
  _Rule(
    'GRPC_SSL_CIPHER_SUITES',
    lambda value: any(map(_CIPHER_SUITE.fullmatch, value.split(':'))),
    'a suite such as ECDHE-ECDSA-AES256-GCM-SHA384',
  ),
  # TensorFlow, which draws from Reverb, aborts the process by other values.
  *(
    _Rule(
      f'TF_NUM_{kind}_THREADS',
      lambda value: not value.strip().startswith('-'),
      'a number of threads',
    )
    for kind in ('INTEROP', 'INTRAOP')
  ),
  _Rule(
    'TF_ENABLE_ONEDNN_OPTS',
    lambda value: value.lower() in ('0', '1', 'false', 'true'),
    '0 or 1',
  ),
  _Rule(
    'MUJOCO_GL',
    _one_of('', *_DRAWN_BY, *_NOT_DRAWN),
    f'{", ".join(_DRAWN_BY)}, or off where no images are observed',
  ),
  _Rule(
    'PYTHONOPTIMIZE',
    lambda value: not value.strip().isdecimal() or int(value) < 2,
    'at most 1: Haiku needs its own docstrings',
  ),
  _Rule(
    'PYTHONWARNINGS',
    _raises_no_warnings,
    "none that is an 'error': the libraries warn on import",
  ),
  _Rule(
    'PYTHONPATH',
    _fits_this_python,
    f'no packages of another Python than {sys.version_info.major}.'
    f'{sys.version_info.minor}',
  ),
)


def prepare() -> None:
  """Mends what can be mended in this process and refuses what cannot.

  Raises:
    VariableError: a variable, its value, what was expected and what to do.
  """
  for rule in _RULES:
    value = os.environ.get(rule.name)
    if value == '':
      # Not all libraries take it for unset.
      del os.environ[rule.name]
    if value and not rule.is_right(value):
      raise _refusal(rule.name, f'expected {rule.expected}')
  if {'XLA_CLIENT_MEM_FRACTION', 'XLA_PYTHON_CLIENT_MEM_FRACTION'} <= set(
    os.environ
  ):
    raise _refusal(
      'XLA_PYTHON_CLIENT_MEM_FRACTION',
      'expected XLA_CLIENT_MEM_FRACTION alone, which is set as well',
    )
  _check_names()
  _check_temporary_folder()
  _bypass_proxies()
  _mend_plots()
  _mend_output()
  _check_jax()


def check_devices() -> None:
  """Starts JAX in another process, where a variable names its devices or flags.

  XLA aborts the process in which it meets a flag that it does not know.

  Raises:
    VariableError: JAX does not start.
  """
  settings = {name: os.environ[name] for name in _DEVICES if _is_set(name)}
  if set(map(str.lower, settings.values())) <= {'cpu'}:
    return
  reason = _start_jax(tuple(settings.items()))
  if reason:
    raise VariableError(reason)


@functools.cache
def _start_jax(settings: tuple[tuple[str, str], ...]) -> str:
  """Returns why JAX does not start with these variables; nothing if it does."""
  failed, output = _probe(dict(settings))
  if not failed:
    return ''
  for name, value in settings:
    others = {n: v for n, v in settings if n != name}
    still_fails, found = _probe(others)
    if not still_fails:
      return (
        f'{name}={value!r}: JAX does not start with it ({output}); expected '
        f'what works here, where JAX finds {found} without it. Correct or '
        f'unset {name}.'
      )
  named = ', '.join(f'{name}={value!r}' for name, value in settings)
  return (
    f'{named}: JAX does not start with them ({output}). Correct or unset them.'
  )


def _probe(settings: Mapping[str, str]) -> tuple[bool, str]:
  """Returns whether JAX fails to start, and what it printed last."""
  environment = {n: v for n, v in os.environ.items() if n not in _DEVICES}
  # The memory of an accelerator may be another run's.
  environment['XLA_PYTHON_CLIENT_PREALLOCATE'] = 'false'
  try:
    done = subprocess.run(
      [sys.executable, '-c', _PROBE],
      env={**environment, **settings},
      capture_output=True,
      text=True,
      errors='replace',
      timeout=_PROBE_S,
      check=False,
    )
  except subprocess.TimeoutExpired:
    return True, f'no answer in {_PROBE_S:.0f} s'
  lines = (done.stdout if not done.returncode else done.stderr).splitlines()
  told = [line for line in lines if line.strip()] or ['it printed nothing']
  fatal = [line for line in told if re.search(r'\bF external|Unknown', line)]
  # glog's time and place are of no use.
  line = re.sub(r'^.*?\.cc:\d+\] ', '', (fatal or told)[-1]).strip()
  if line == 'AssertionError':  # JAX's, of a CUDA without a GPU
    line = 'it finds no such device'
  return done.returncode != 0, line


def _is_set(name: str) -> bool:
  return bool(os.environ.get(name, '').strip())


def _refusal(name: str, reason: str) -> VariableError:
  return VariableError(
    f'{name}={os.environ.get(name)!r}; {reason}. Correct or unset {name}.'
  )


def _check_names() -> None:
  """Refuses folders whose names have characters that are none here."""
  for text in (*sys.argv, os.getcwd()):
    if not any('\ud800' <= character <= '\udfff' for character in text):
      continue
    encoding = sys.getfilesystemencoding()
    if encoding == 'utf-8':
      raise VariableError(
        f'The name {os.fsencode(text)!r} is not UTF-8, expected one that is. '
        'Rename it.'
      )
    names = [
      f'{name}={os.environ[name]!r}'
      for name in ('LC_ALL', 'LC_CTYPE', 'LANG', 'PYTHONUTF8')
      if name in os.environ
    ]
    raise VariableError(
      f'{", ".join(names)}: file names are {encoding} by them, in which '
      f'{os.fsencode(text)!r} cannot be written; expected UTF-8. Set '
      'PYTHONUTF8=1.'
    )


def _check_temporary_folder() -> None:
  try:
    # Another one where that of TMPDIR is not there, not writable or full.
    tempfile.gettempdir()
  except FileNotFoundError as error:
    raise _refusal(
      'TMPDIR', f'expected a folder that can be written ({error.strerror})'
    ) from error


def _bypass_proxies() -> None:
  """Keeps gRPC to this machine from going through a proxy."""
  known = os.environ.get(_NO_GRPC_PROXY) or os.environ.get('no_proxy', '')
  names = [name for name in known.split(',') if name.strip()]
  names += [name for name in _HERE if name not in names]
  os.environ[_NO_GRPC_PROXY] = ','.join(names)


def _mend_plots() -> None:
  """Draws to files where Matplotlib lacks the backend that is asked for.

  A notebook leaves its own in MPLBACKEND, which need not be installed here.
  """
  backend = os.environ.get('MPLBACKEND', '').strip()
  if not backend or 'matplotlib' in sys.modules:
    return
  if backend.startswith('module://'):
    package = backend.removeprefix('module://').split('.')[0]
    there = package.isidentifier() and importlib.util.find_spec(package)
  else:
    matplotlib = importlib.util.find_spec('matplotlib')
    folders = (matplotlib and matplotlib.submodule_search_locations) or ()
    file = f'backends/backend_{backend.lower()}.py'
    there = any((pathlib.Path(folder) / file).is_file() for folder in folders)
  if not there:
    os.environ['MPLBACKEND'] = 'agg'


def _mend_output() -> None:
  """Replaces what a terminal or a file of ASCII cannot show."""
  for stream in (sys.stdout, sys.stderr):
    if isinstance(stream, io.TextIOWrapper) and stream.errors == 'strict':
      stream.reconfigure(errors='backslashreplace')


def _check_jax() -> None:
  """Refuses what JAX cannot parse of its variables, all of which it names."""
  if not any(name.startswith('JAX_') for name in os.environ):
    return
  try:
    importlib.import_module('jax')
  except ValueError as error:
    names = [name for name in os.environ if name.startswith('JAX_')]
    named = [n for n in names if n in str(error).upper()] or names
    values = ', '.join(f'{name}={os.environ[name]!r}' for name in named)
    raise VariableError(
      f'{values}; JAX expected something else ({error}). Correct or unset '
      f'{", ".join(named)}.'
    ) from error
