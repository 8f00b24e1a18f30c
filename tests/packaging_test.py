"""The way from a fresh machine to an environment: scripts, setup.py, locks."""

import ast
import importlib.metadata
import os
import pathlib
import re
import runpy
import shutil
import subprocess
import sys

from packaging import requirements as packaging_requirements
from packaging import utils as packaging_utils
import pytest
import setuptools

ROOT = pathlib.Path(__file__).parents[1]
LOCKS = {'3.10': 'requirements/py310.txt', '3.12': 'requirements/newest.txt'}
# What the locks hold beside each other, and what needs an older MuJoCo.
EXTRAS = ('sim', 'dm_control', 'gymnasium', 'launch', 'dev')
GYM_HIL_LOCK = 'requirements/gym_hil.txt'
RUNNING = '{}.{}'.format(*sys.version_info)

# Answers the question that find_python.sh puts to an interpreter.
FAKE_PYTHON = '#!/bin/sh\n[ "$2" = 3.10 ] && echo "$0"\n'
# pyenv's shim where no version is chosen.
BROKEN_PYTHON = '#!/bin/sh\nexit 127\n'


def write_script(path: pathlib.Path, text: str) -> pathlib.Path:
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text)
  path.chmod(0o755)
  return path


class Machine:
  """A machine with nothing on it but the shell's tools and what is added."""

  def __init__(self, folder: pathlib.Path):
    self.home = folder / 'home'
    self.bin = folder / 'bin'
    self.home.mkdir()
    self.bin.mkdir()
    for tool in ('sh', 'cat', 'dirname', 'env', 'grep', 'ls', 'sed', 'tr'):
      (self.bin / tool).symlink_to(shutil.which(tool))

  def run(self, script: str, *arguments: str, **variables: str):
    return subprocess.run(
      [str(ROOT / 'scripts' / script), *arguments],
      env={'PATH': str(self.bin), 'HOME': str(self.home), **variables},
      capture_output=True,
      text=True,
      timeout=60,
    )

  def find_python(self, **variables: str) -> str:
    done = self.run('find_python.sh', '3.10', **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def machine(tmp_path):
  return Machine(tmp_path)


@pytest.mark.parametrize(
  'place',
  [
    'bin/python3.10',
    'home/.pyenv/versions/3.10.13/bin/python3.10',
    'home/miniconda3/bin/python3.10',
    'home/anaconda3/envs/robots/bin/python3.10',
    'home/miniforge3/envs/robots/bin/python3.10',
  ],
)
def test_python_is_found_at(machine, tmp_path, place):
  write_script(machine.bin / 'python3.10', BROKEN_PYTHON)
  expected = write_script(tmp_path / place, FAKE_PYTHON)
  assert machine.find_python() == str(expected)


def test_python_is_found_where_variables_point(machine, tmp_path):
  pyenv = write_script(tmp_path / 'a b/versions/x/bin/python3.10', FAKE_PYTHON)
  conda = write_script(tmp_path / 'conda/envs/y/bin/python3.10', FAKE_PYTHON)
  assert machine.find_python(PYENV_ROOT=str(tmp_path / 'a b')) == str(pyenv)
  assert machine.find_python(CONDA_PREFIX=str(tmp_path / 'conda')) == str(conda)


def test_python_is_found_in_an_environment_that_conda_lists(machine, tmp_path):
  expected = write_script(tmp_path / 'far/env/bin/python3.10', FAKE_PYTHON)
  listing = machine.home / '.conda/environments.txt'
  listing.parent.mkdir()
  listing.write_text(f'{tmp_path}/gone\n{tmp_path}/far/env\n')
  assert machine.find_python() == str(expected)


def test_python_on_the_path_comes_before_pyenv(machine):
  expected = write_script(machine.bin / 'python3.10', FAKE_PYTHON)
  versions = machine.home / '.pyenv/versions'
  write_script(versions / '3.10.13/bin/python3.10', FAKE_PYTHON)
  assert machine.find_python() == str(expected)


@pytest.mark.parametrize('as_module', [False, True])
def test_uv_installs_python_where_there_is_none(machine, as_module):
  installed = machine.home / 'uv/python3.10'
  uv = f"""#!/bin/sh
    {'[ "$1 $2" = "-m uv" ] && shift 2 || exit 1' if as_module else ''}
    case "$*" in
      --version) ;;
      'python install 3.10')
        mkdir -p {installed.parent}
        cp {machine.home}/fake {installed}; echo noise ;;
      'python find 3.10') echo {installed} ;;
      *) exit 1 ;;
    esac
  """
  for tool in ('cp', 'mkdir'):
    (machine.bin / tool).symlink_to(shutil.which(tool))
  write_script(machine.home / 'fake', FAKE_PYTHON)
  write_script(machine.bin / ('python3' if as_module else 'uv'), uv)
  assert machine.find_python() == str(installed)


@pytest.mark.parametrize('uv', [None, '[ "$1" = --version ]'])
def test_without_a_python_the_error_names_what_to_install(machine, uv):
  if uv:
    write_script(machine.bin / 'uv', f'#!/bin/sh\n{uv}\n')
  done = machine.run('find_python.sh', '3.10')
  assert done.returncode == 1
  assert done.stdout == ''
  for remedy in ('pip install uv', 'pyenv install 3.10', 'conda', 'PYTHON='):
    assert remedy in done.stderr


def test_the_named_python_wins(machine, tmp_path):
  write_script(machine.bin / 'python3.10', FAKE_PYTHON)
  named = write_script(tmp_path / 'mine/python', FAKE_PYTHON)
  assert machine.find_python(PYTHON=str(named)) == str(named)


def test_a_named_python_of_another_version_is_refused(machine):
  write_script(machine.bin / 'python3.10', FAKE_PYTHON)
  done = machine.run('find_python.sh', '3.6', PYTHON=sys.executable)
  assert done.returncode == 1
  assert f'is Python {RUNNING}.' in done.stderr
  assert 'Python 3.6' in done.stderr


def test_a_named_python_that_is_none_is_refused(machine):
  write_script(machine.bin / 'python3.10', FAKE_PYTHON)
  done = machine.run('find_python.sh', '3.10', PYTHON='pyhton')
  assert done.returncode == 1
  assert 'PYTHON=pyhton is nothing that runs' in done.stderr


def test_a_real_python_fits_only_if_it_can_make_a_venv(machine, tmp_path):
  find = ('find_python.sh', RUNNING)
  assert machine.run(*find, PYTHON=sys.executable).stdout.strip()
  # Debian's Python without the package python3-venv.
  (tmp_path / 'ensurepip.py').write_text('raise ImportError')
  done = machine.run(*find, PYTHON=sys.executable, PYTHONPATH=str(tmp_path))
  assert done.returncode == 1
  assert 'ensurepip' in done.stderr


def add_apt(machine: Machine, installed: tuple[str, ...], user: int) -> None:
  log = machine.home / 'log'
  write_script(machine.bin / 'id', f'#!/bin/sh\necho {user}\n')
  write_script(machine.bin / 'apt-get', f'#!/bin/sh\necho apt "$@" >>{log}\n')
  write_script(
    machine.bin / 'dpkg-query',
    f"""#!/bin/sh
    case " {' '.join(installed)} " in
      *" $3 "*) echo install ok installed ;;
      *) echo deinstall ok config-files ;;
    esac
    """,
  )


def test_system_deps_installs_what_is_missing(machine):
  add_apt(machine, installed=('libegl1', 'libgl1'), user=0)
  done = machine.run('system_deps.sh')
  assert done.returncode == 0, done.stderr
  update, install = (machine.home / 'log').read_text().splitlines()
  assert update.startswith('apt update')
  missing = 'libgl1-mesa-dri libosmesa6 libusb-1.0-0 libhidapi-hidraw0'
  assert install.endswith(f'recommends {missing}')


def test_system_deps_leaves_a_complete_machine_alone(machine):
  packages = (
    *('libegl1', 'libgl1', 'libgl1-mesa-dri', 'libosmesa6'),
    *('libusb-1.0-0', 'libhidapi-hidraw0'),
  )
  add_apt(machine, installed=packages, user=1000)
  done = machine.run('system_deps.sh')
  assert done.returncode == 0, done.stderr
  assert 'Nothing to install' in done.stdout
  assert not (machine.home / 'log').exists()


def test_system_deps_asks_sudo_where_it_is_not_root(machine):
  add_apt(machine, installed=(), user=1000)
  refused = machine.run('system_deps.sh')
  assert refused.returncode == 1
  assert 'apt-get install libegl1' in refused.stderr
  log = machine.home / 'log'
  write_script(
    machine.bin / 'sudo', f'#!/bin/sh\necho sudo >>{log}\nexec "$@"\n'
  )
  assert machine.run('system_deps.sh').returncode == 0
  assert log.read_text().count('sudo\napt') == 2


def test_system_deps_says_what_is_needed_where_there_is_no_apt(machine):
  done = machine.run('system_deps.sh')
  assert done.returncode == 1
  assert 'no apt-get' in done.stderr
  assert 'libosmesa6' in done.stderr


@pytest.mark.parametrize('code', [0, 1, 5])
def test_run_tests_reports_any_failure(machine, tmp_path, code):
  python = write_script(
    tmp_path / 'python', f'#!/bin/sh\necho "$@"\nexit {code}\n'
  )
  done = machine.run('run_tests.sh', str(python), '-x')
  assert done.returncode == code
  assert done.stdout.endswith('-m not long -x\n')


def test_make_alone_lists_every_target():
  environment = {k: v for k, v in os.environ.items() if 'MAKE' not in k}
  done = subprocess.run(
    ['make'],
    cwd=ROOT,
    env=environment,
    capture_output=True,
    text=True,
    check=True,
    timeout=60,
  )
  listed = {line.split()[0] for line in done.stdout.splitlines()}
  (phony,) = re.findall(
    r'^\.PHONY:((?:.*\\\n)*.*)$', (ROOT / 'Makefile').read_text(), re.MULTILINE
  )
  assert listed == set(phony.replace('\\', '').split())
  assert {'quickstart', 'test', 'system-deps', 'test-newest'} <= listed


@pytest.fixture(scope='module')
def declared():
  """What setup.py hands to setuptools."""
  given = {}
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(ROOT)
    patch.setattr(setuptools, 'setup', given.update)
    runpy.run_path(str(ROOT / 'setup.py'))
  return given


def locked_versions(lock: str) -> dict[str, str]:
  lines = (ROOT / lock).read_text().splitlines()
  pins = [line for line in lines if line and line.lstrip()[0] != '#']
  return dict(pin.split('==') for pin in pins)


@pytest.mark.parametrize('lock', [*LOCKS.values(), GYM_HIL_LOCK])
def test_a_lock_holds_exact_versions_and_nothing_of_one_machine(lock):
  for line in (ROOT / lock).read_text().splitlines():
    assert '/' not in line.replace('# via', '')
    assert re.fullmatch(r'[a-z0-9-]+==[0-9a-z.]+|\s*#.*', line), line
  # Gigabytes that a CPU has no use for.
  versions = locked_versions(lock)
  assert not [n for n in versions if n.startswith(('torch', 'nvidia', 'wandb'))]


@pytest.mark.parametrize(
  'python, lock, used',
  [
    *((*of_python, EXTRAS) for of_python in LOCKS.items()),
    ('3.10', GYM_HIL_LOCK, ('gym-hil', 'launch', 'dev')),
  ],
)
def test_a_lock_satisfies_setup_py(declared, python, lock, used):
  extras = declared['extras_require']
  asked = [
    *declared['install_requires'],
    *(text for extra in used for text in extras[extra]),
  ]
  machine = {
    'python_version': python,
    'sys_platform': 'linux',
    'platform_machine': 'x86_64',
  }
  versions = locked_versions(lock)
  for requirement in map(packaging_requirements.Requirement, asked):
    if requirement.marker and not requirement.marker.evaluate(machine):
      continue
    name = packaging_utils.canonicalize_name(requirement.name)
    assert name in versions, f'{requirement}: run `make lock`'
    assert requirement.specifier.contains(versions[name]), requirement
  assert ('dm-launchpad' in versions) == (python == '3.10')


def test_every_extra_says_up_to_which_mujoco_it_goes(declared):
  found = {
    extra: requirement.specifier
    for extra, texts in declared['extras_require'].items()
    for requirement in map(packaging_requirements.Requirement, texts)
    if requirement.name == 'mujoco'
  }
  assert found.keys() == {'sim', 'dm_control', 'gym-hil'}
  for extra, specifier in found.items():
    assert not specifier.contains('4.0.0'), extra
  assert found['sim'] == found['dm_control']


def test_every_import_is_declared(declared):
  names = {
    packaging_utils.canonicalize_name(
      packaging_requirements.Requirement(text).name
    )
    for texts in (
      declared['install_requires'],
      *declared['extras_require'].values(),
    )
    for text in texts
  }
  providers = importlib.metadata.packages_distributions()
  for file in sorted((ROOT / 'serl').rglob('*.py')):
    for node in ast.walk(ast.parse(file.read_text())):
      if isinstance(node, ast.Import):
        imported = [alias.name for alias in node.names]
      elif isinstance(node, ast.ImportFrom):
        imported = [node.module]
      else:
        continue
      for module in imported:
        # Of what is not installed here nobody knows the distribution.
        found = providers.get(module.split('.')[0], ['serl'])
        found = {packaging_utils.canonicalize_name(name) for name in found}
        assert found & {*names, 'serl'}, f'{file}:{node.lineno}: {module}'


def test_only_our_packages_are_installed(declared):
  assert {name.split('.')[0] for name in declared['packages']} <= {
    'serl',
    'robot_server',
  }
  assert 'serl.agents' in declared['packages']
