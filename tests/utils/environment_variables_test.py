"""Each variable that our processes read works, or is refused in a sentence."""

import ast
from collections.abc import Iterator
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import pytest

from serl.utils import environment_variables

ROOT = pathlib.Path(__file__).parents[2]

# What programs end with at once. The empty value is unset to most.
REFUSED = (
  ('JAX_ENABLE_X64', '1'),
  ('JAX_ENABLE_X64', 'TRUE'),
  ('JAX_ENABLE_CUSTOM_PRNG', 'on'),
  ('JAX_NUMPY_DTYPE_PROMOTION', 'strict'),
  ('JAX_NUMPY_RANK_PROMOTION', 'raise'),
  ('JAX_TRANSFER_GUARD', 'disallow'),
  ('JAX_TRANSFER_GUARD_HOST_TO_DEVICE', 'disallow_explicit'),
  ('XLA_PYTHON_CLIENT_MEM_FRACTION', 'half'),
  ('XLA_CLIENT_MEM_FRACTION', '0'),
  ('XLA_CLIENT_MEM_FRACTION', 'nan'),
  ('XLA_PYTHON_CLIENT_PREALLOCATE', 'maybe'),
  ('XLA_PYTHON_CLIENT_ALLOCATOR', 'malloc'),
  ('GRPC_POLL_STRATEGY', 'banana'),
  ('GRPC_SSL_CIPHER_SUITES', 'banana'),
  ('TF_ENABLE_ONEDNN_OPTS', 'banana'),
  ('TF_NUM_INTRAOP_THREADS', '-1'),
  ('TF_NUM_INTEROP_THREADS', '-1'),
  ('MUJOCO_GL', 'elg'),
  ('PYTHONOPTIMIZE', '2'),
  ('PYTHONWARNINGS', 'error'),
  ('PYTHONWARNINGS', 'ignore,error::DeprecationWarning'),
  ('PYTHONPATH', '/opt/ros/lib/python3.8/site-packages'),
)

# Each is read by one of our processes or by a library in it, and changes
# nothing that matters: `launch_test` runs with all of them at once.
HARMLESS = {
  **{
    name: 'http://127.0.0.1:9'
    for proxy in ('http_proxy', 'https_proxy', 'all_proxy', 'grpc_proxy')
    for name in (proxy, proxy.upper())
  },
  'no_proxy': '',
  'MPLBACKEND': 'module://matplotlib_inline.backend_inline',
  'PYOPENGL_PLATFORM': 'banana',
  'DISPLAY': ':99',
  'LC_ALL': 'C',
  'LANG': 'xx_YY.ISO-8859-1',
  'PYTHONIOENCODING': 'ascii',
  'TMPDIR': '/proc/nonexistent',
  'HOME': '/proc/nonexistent',
  'TERM': 'dumb',
  'NO_COLOR': '1',
  'COLUMNS': '0',
  'PYTHONHASHSEED': '7',
  'PYTHONSTARTUP': '/proc/nonexistent.py',
  'OMP_NUM_THREADS': '0',
  'OPENBLAS_NUM_THREADS': 'banana',
  'NPROC': 'banana',
  'LP_NUM_THREADS': 'banana',
  'LAUNCHPAD_LOGGING_DIR': '/proc/nonexistent',
  'LAUNCHPAD_LAUNCH_LOCAL_TERMINAL': 'banana',
  'CLUSTER_SPEC': 'banana',
  'TF_CONFIG': 'banana',
  'TF_CPP_MIN_LOG_LEVEL': '0',
  'TF_FORCE_GPU_ALLOW_GROWTH': 'banana',
  'CUDA_VISIBLE_DEVICES': 'banana',
  'PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION': 'banana',
  'WANDB_MODE': 'banana',
  'GRPC_SSL_CIPHER_SUITES': 'banana:ECDHE-ECDSA-AES128-GCM-SHA256',
  'TF_ENABLE_ONEDNN_OPTS': '',
  'TF_NUM_INTRAOP_THREADS': 'banana',
  'JAX_COMPILATION_CACHE_DIR': '/proc/nonexistent',
}

# Read in our own files, by what tests them.
OURS = {
  'CLUSTER_SPEC': 'programs/distributed/launch_test.py',
  'DISPLAY': 'tools/view_test.py',
  'LD_LIBRARY_PATH': 'programs/distributed/variables_test.py',
  'MENAGERIE_ROOT': 'environments/sim/pick_cube_test.py',
  'MPLBACKEND': 'utils/environment_variables_test.py',
  'MUJOCO_EGL_DEVICE_ID': 'environments/sim/rendering_test.py',
  'MUJOCO_GL': 'environments/sim/rendering_test.py',
  'SERL_GAMEPAD': 'teleop/gamepad_test.py',
  'SERL_SPACEMOUSE': 'teleop/spacemouse_test.py',
  'no_grpc_proxy': 'utils/environment_variables_test.py',
  'no_proxy': 'utils/environment_variables_test.py',
}


def start(code: str, **variables: str) -> subprocess.CompletedProcess:
  return subprocess.run(
    [sys.executable, '-c', code],
    cwd=ROOT,
    env={**os.environ, **variables},
    capture_output=True,
    text=True,
    check=False,
    timeout=120,
  )


@pytest.fixture
def bare(monkeypatch):
  """Leaves out the variables that the tests themselves were given."""
  for name, _ in REFUSED:
    monkeypatch.delenv(name, raising=False)
  for name in environment_variables._DEVICES:
    monkeypatch.delenv(name, raising=False)
  return monkeypatch


@pytest.mark.parametrize('name, value', REFUSED)
def test_a_value_that_nothing_can_run_with_is_refused(bare, name, value):
  bare.setenv(name, value)
  with pytest.raises(environment_variables.VariableError) as refused:
    environment_variables.prepare()
  told = str(refused.value)
  assert told.startswith(f'{name}={value!r}; expected ')
  assert told.endswith(f'Correct or unset {name}.')
  bare.delenv(name)
  environment_variables.prepare()


def test_nothing_is_lost_with_the_assertions(bare):
  bare.setenv('PYTHONOPTIMIZE', '1')
  environment_variables.prepare()
  for package in ('serl', 'robot_server'):
    for path in (ROOT / package).rglob('*.py'):
      nodes = ast.walk(ast.parse(path.read_text()))
      assert not any(isinstance(node, ast.Assert) for node in nodes), path


@pytest.mark.parametrize(
  'package, name, value',
  [
    ('serl.programs', 'JAX_ENABLE_X64', 'maybe'),
    ('serl.programs', 'JAX_NUM_CPU_DEVICES', 'banana'),
    ('serl.tools', 'JAX_LOGGING_LEVEL', 'banana'),
    ('serl.tools', 'MUJOCO_GL', 'banana'),
  ],
)
def test_a_program_ends_with_the_sentence_alone(package, name, value):
  done = start(f'import {package}', **{name: value})
  assert done.returncode == 1
  (line,) = done.stderr.splitlines()
  assert f'{name}={value!r}' in line and f'unset {name}' in line


def test_both_shares_of_the_memory_are_refused(bare):
  bare.setenv('XLA_CLIENT_MEM_FRACTION', '0.4')
  bare.setenv('XLA_PYTHON_CLIENT_MEM_FRACTION', '0.4')
  with pytest.raises(environment_variables.VariableError, match='set as well'):
    environment_variables.prepare()


@pytest.mark.parametrize(
  'name, value, others',
  [
    ('JAX_PLATFORMS', 'banana', {}),
    ('JAX_PLATFORMS', 'tpu', {'XLA_FLAGS': '--xla_dump_to='}),
    # XLA aborts its process.
    ('XLA_FLAGS', '--banana=3', {'JAX_PLATFORMS': 'cpu'}),
  ],
)
def test_devices_that_do_not_start_are_refused(bare, name, value, others):
  for each, its in {name: value, **others}.items():
    bare.setenv(each, its)
  with pytest.raises(environment_variables.VariableError) as refused:
    environment_variables.check_devices()
  told = str(refused.value)
  assert told.startswith(f'{name}={value!r}: JAX does not start with it (')
  assert re.search(r'JAX finds [\w, ]+ without it', told)
  assert len(told.splitlines()) == 1


def test_devices_that_start_are_not(bare):
  environment_variables.check_devices()
  bare.setenv('JAX_PLATFORMS', 'cpu')
  environment_variables.check_devices()
  bare.setenv('XLA_FLAGS', '--xla_force_host_platform_device_count=2')
  environment_variables.check_devices()


def test_a_locale_that_cannot_write_the_folders_name(tmp_path):
  folder = tmp_path / 'größe'
  code = 'import serl.programs, sys; print(sys.argv)'
  variables = {'LC_ALL': 'C', 'PYTHONCOERCECLOCALE': '0', 'PYTHONUTF8': '0'}
  for utf8 in '01':
    done = subprocess.run(
      [sys.executable, '-c', code, f'--run={folder}'],
      cwd=ROOT,
      env={**os.environ, **variables, 'PYTHONUTF8': utf8},
      capture_output=True,
      check=False,
    )
    assert done.returncode == (utf8 == '0'), done.stderr
  name = os.fsdecode(b'/tmp/gr\xf6sse')  # of an older system
  done = start(f'import sys; sys.argv = [{name!r}]; import serl.programs')
  assert done.returncode == 1 and 'is not UTF-8' in done.stderr


def test_no_folder_for_temporary_files_is_refused(bare):
  bare.setattr(tempfile, 'tempdir', None)
  folders = ['/proc/nonexistent']
  bare.setattr(tempfile, '_candidate_tempdir_list', lambda: folders)
  bare.setenv('TMPDIR', '/proc/nonexistent')
  with pytest.raises(environment_variables.VariableError, match=r'^TMPDIR='):
    environment_variables.prepare()


@pytest.mark.parametrize(
  'backend, becomes',
  [
    ('module://matplotlib_inlin.backend_inline', 'agg'),
    ('banana', 'agg'),
    ('TkAgg', 'TkAgg'),
    ('module://matplotlib.backends.backend_svg', None),
  ],
)
def test_plots_need_no_backend_of_a_notebook(backend, becomes):
  done = start(
    'import serl.tools, os; from matplotlib import figure; '
    'figure.Figure(); print(os.environ["MPLBACKEND"])',
    MPLBACKEND=backend,
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.strip() == (becomes or backend)


def test_what_ascii_cannot_show_is_shown_otherwise():
  done = start(
    'import serl.programs; print("gr\\u00f6\\u00dfe")', PYTHONIOENCODING='ascii'
  )
  assert done.stdout.strip() == r'gr\xf6\xdfe', done.stderr


@pytest.mark.parametrize(
  'given, becomes',
  [
    ({}, 'localhost,127.0.0.1,[::1]'),
    ({'no_proxy': 'lab.org'}, 'lab.org,localhost,127.0.0.1,[::1]'),
    ({'no_grpc_proxy': 'x,localhost'}, 'x,localhost,127.0.0.1,[::1]'),
  ],
)
def test_grpc_on_this_machine_takes_no_proxy(bare, given, becomes):
  for name in ('no_proxy', 'no_grpc_proxy'):
    bare.delenv(name, raising=False)
  for name, value in given.items():
    bare.setenv(name, value)
  environment_variables.prepare()
  assert os.getenv(environment_variables._NO_GRPC_PROXY) == becomes


@pytest.mark.parametrize(
  'path', sorted((ROOT / 'examples').glob('*.py')), ids=lambda path: path.name
)
def test_an_example_checks_before_it_imports_anything_else(path):
  modules = [
    f'{node.module}.{node.names[0].name}'
    for node in ast.parse(path.read_text()).body
    if isinstance(node, ast.ImportFrom) and node.module.startswith('serl')
  ]
  assert modules[0].startswith('serl.programs')


def variables_read(path: pathlib.Path) -> Iterator[str]:
  """Yields the variables that a file reads, also by constants of the file."""
  tree = ast.parse(path.read_text())
  constants = {
    node.targets[0].id: node.value.value
    for node in tree.body
    if isinstance(node, ast.Assign)
    and isinstance(node.targets[0], ast.Name)
    and isinstance(node.value, ast.Constant)
  }
  for node in ast.walk(tree):
    text = ast.unparse(node) if isinstance(node, ast.expr) else ''
    pattern = r'os\.(?:environ\.get|getenv|environ\.setdefault)\('
    keys = []
    if isinstance(node, ast.Call) and re.match(pattern, text):
      keys = node.args[:1]
    if isinstance(node, ast.Subscript) and text.startswith('os.environ['):
      keys = [node.slice]
    if isinstance(node, ast.Compare) and text.endswith(' in os.environ'):
      keys = [node.left]
    for key in keys:
      if isinstance(key, ast.Constant):
        yield key.value
      elif isinstance(key, ast.Name) and key.id in constants:
        yield constants[key.id]


def test_every_variable_that_our_files_read_is_tested():
  read = {
    name
    for package in ('serl', 'robot_server', 'examples')
    for path in (ROOT / package).rglob('*.py')
    for name in variables_read(path)
  }
  assert {'MUJOCO_GL', 'MENAGERIE_ROOT', 'no_grpc_proxy'} <= read
  refused = {name for name, _ in REFUSED}
  assert read - refused - set(HARMLESS) - set(OURS) == set()
  for file in OURS.values():
    assert (ROOT / 'tests' / file).is_file()
