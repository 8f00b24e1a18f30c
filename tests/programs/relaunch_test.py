import ast
import json
import os
import pathlib
import subprocess
import sys

import pytest

from serl.programs import relaunch
from serl.programs import run_folder

_ROOT = pathlib.Path(__file__).parents[2]
_EXAMPLES = _ROOT / 'examples'


def _write(folder, *command, **more):
  folder.mkdir(exist_ok=True)
  config = {'started': 0.0, 'command': list(command), 'run': {}, **more}
  (folder / 'config.json').write_text(json.dumps(config))
  return folder


def _command_line(folder, *command, flags=()):
  _write(folder, *command)
  return relaunch.command_line(folder, _EXAMPLES, flags=flags)


def test_keeps_what_agent_and_environment_depend_on(tmp_path):
  run = tmp_path / 'run'
  found = _command_line(
    run,
    'peg_insert.py',
    '--twin',
    '--nohttp',
    '-preset',
    'serl',
    '--images=1',
    '--seed=-3',
    '--cloning=1e-2',
    '--task=peg_insert',
    f'--classifier={tmp_path}/none yet',
    '--minutes',
    '20',
    '--nostop-at-success',
    '--run=elsewhere',
    '--demos=/dev/zero',
  )
  assert found == [
    sys.executable,
    str(_EXAMPLES / 'peg_insert.py'),
    '--twin=true',
    '--http=false',
    '--preset=serl',
    '--images=true',
    '--seed=-3',
    '--cloning=1e-2',
    '--task=peg_insert',
    f'--classifier={tmp_path}/none yet',
    f'--run={run}',
  ]


@pytest.mark.parametrize(
  'name',
  [
    '../mine.py',
    '/mine.py',
    './peg_insert.py',
    'evaluate.py',
    'mine.py',
    '..',
    '',
    '-c',
    'peg_insert.py\n',
    'peg_insert',
    'json.tool',
  ],
)
def test_no_other_program_is_run(name, tmp_path):
  # It is there: that is no reason to run it.
  examples = tmp_path / 'examples'
  examples.mkdir()
  (examples / 'mine.py').write_text('')
  _write(tmp_path / 'run', name)
  with pytest.raises(run_folder.AnotherRunError, match='not one of the exam'):
    relaunch.command_line(tmp_path / 'run', examples)


@pytest.mark.parametrize(
  'flags',
  [
    ['--task=evil.py'],
    ['--task', 'evil.py'],
    ['-task=evil.py'],
    ['--task=peg_insert,evil.py'],
    ['--task=peg_insert', '--task=../evil.py'],
    ['--task=/tmp/evil.py'],
    ['--task=evil.PY'],
    ['--task=peg_insert\n'],
  ],
)
def test_no_task_file_of_a_folder_is_run(flags, tmp_path):
  with pytest.raises(run_folder.AnotherRunError, match='Name the file of your'):
    _command_line(tmp_path / 'run', 'peg_insert.py', *flags)
  # The user's own takes its place, however often the folder names one.
  found = _command_line(
    tmp_path / 'run', 'peg_insert.py', *flags, flags=['--task=mine.py']
  )
  assert [word for word in found if word.startswith('--task')] == [
    '--task=mine.py'
  ]


@pytest.mark.parametrize(
  'flags, told',
  [
    (['--flagfile=evil.txt'], "sets 'flagfile'"),
    (['--flagfile', 'evil.txt'], "sets 'flagfile'"),
    (['--undefok=task'], "sets 'undefok'"),
    # What follows it would be no flags, and the program would train.
    (['--'], "sets ''"),
    (['evil.py'], "sets 'evil.py'"),
    (['--pdb'], "sets 'pdb'"),
    (['--lp_launch_type=vertex_ai'], "sets 'lp_launch_type'"),
    (['--tas=evil.py'], "sets 'tas'"),
    (['--seed=__import__("os")'], '--seed to '),
    (['--preset=os.system'], '--preset to '),
    (['--encoder=../x'], '--encoder to '),
    (['--cloning=nan'], '--cloning to '),
    (['--classifier=/dev/zero'], '--classifier to '),
    (['--weights=-c'], '--weights to '),
    (['--weights=a\x00b'], '--weights to '),
    (['--weights=\ud800'], '--weights to '),
    (['--weights'], '--weights to '),
    (['--twin=perhaps'], '--twin to '),
  ],
)
def test_a_folder_sets_data_of_known_flags_alone(flags, told, tmp_path):
  with pytest.raises(run_folder.AnotherRunError) as raised:
    _command_line(tmp_path / 'run', 'peg_insert.py', *flags)
  assert told in str(raised.value)


def test_a_pipe_is_not_read(tmp_path):
  os.mkfifo(tmp_path / 'weights.pkl')
  flag = f'--weights={tmp_path / "weights.pkl"}'
  with pytest.raises(run_folder.AnotherRunError, match='a regular file'):
    _command_line(tmp_path / 'run', 'rlpd_drq_sim.py', flag)


@pytest.mark.parametrize(
  'command', [None, 'peg_insert.py', [], [3], {'peg_insert.py': 1}]
)
def test_a_command_is_a_list_of_words(command, tmp_path):
  _write(tmp_path / 'run')
  (tmp_path / 'run' / 'config.json').write_text(
    json.dumps({'command': command, 'run': {}})
  )
  with pytest.raises(run_folder.AnotherRunError, match='has the command'):
    relaunch.command_line(tmp_path / 'run', _EXAMPLES)


def test_nothing_of_a_hostile_folder_is_run(tmp_path):
  run, marker = tmp_path / 'run', tmp_path / 'executed'
  run.mkdir()
  evil = f'open({str(marker)!r}, "w").write("x")\n'
  names = ('evil', 'peg_insert', 'sitecustomize', 'jax', 'serl', 'json')
  for name in names:
    (run / f'{name}.py').write_text(evil)
  (run / 'flags.txt').write_text(f'--task={run / "evil.py"}\n')
  (run / 'link.py').symlink_to(run / 'evil.py')
  for command in (
    ['peg_insert.py', '--twin', f'--task={run / "evil.py"}'],
    ['peg_insert.py', '--twin', f'--task={run / "link.py"}'],
    ['peg_insert.py', f'--flagfile={run / "flags.txt"}'],
    [str(run / 'evil.py')],
  ):
    _write(run, *command)
    for program in (
      [_EXAMPLES / 'evaluate.py', f'--run={run}'],
      ['-m', 'serl.tools.interventions', run],
    ):
      done = subprocess.run(
        [sys.executable, *program],
        capture_output=True,
        text=True,
        check=False,
        cwd=_ROOT,
      )
      assert done.returncode != 0
      assert 'no file that a run folder' in done.stderr or (
        'a run folder may not' in ' '.join(done.stderr.split())
      )
  assert not marker.exists()


def test_each_flag_of_the_examples_is_kept_or_left():
  defined = set()
  sources = [_EXAMPLES / name for name in relaunch._EXAMPLES]
  sources += [
    _ROOT / 'serl' / 'programs' / f'{name}.py'
    for name in ('command', 'arm', 'reward')
  ]
  for source in sources:
    for node in ast.walk(ast.parse(source.read_text())):
      if not isinstance(node, ast.Call) or not isinstance(
        node.func, ast.Attribute
      ):
        continue
      if node.func.attr.startswith('DEFINE_'):
        is_switch = node.func.attr in ('DEFINE_bool', 'DEFINE_boolean')
        name = node.args[0].value
        defined.add(name)
        assert (name in relaunch._SWITCHES) == is_switch, name
  known = {*relaunch._KEPT, *relaunch._LEFT, *relaunch._LEFT_SWITCHES}
  assert defined <= known
  # What runs were begun with that are older.
  assert known - defined == {'replay'}


def test_the_examples_that_train_are_known():
  training = {
    path.name
    for path in _EXAMPLES.glob('*.py')
    if 'command.run(' in path.read_text() or 'arm.run' in path.read_text()
  }
  assert training == set(relaunch._EXAMPLES)
