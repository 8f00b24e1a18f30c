"""Which nodes run where."""

import threading

import pytest

pytest.importorskip(
  'launchpad', reason='Launchpad has wheels for Python 3.10 alone'
)

from launchpad import context

from serl.programs.distributed import keys
from serl.programs.distributed import program
from tests.programs.distributed import fake_run


def test_every_node_has_one_role(tmp_path):
  config = fake_run.make_config(tmp_path, num_actors=2)
  parts = {
    role: set(program.make_nodes(config, role))
    for role in ('learner', 'actor', 'evaluator')
  }
  assert parts == {
    'learner': {'learner'},
    'actor': {'actor_0', 'actor_1'},
    'evaluator': {'evaluator'},
  }
  assert set(program.make_nodes(config)) == set().union(*parts.values())


def test_on_a_real_robot_nobody_evaluates_beside_the_actor(tmp_path):
  config = fake_run.make_config(tmp_path, evaluate=False)
  assert 'evaluator' not in program.make_nodes(config)
  with pytest.raises(ValueError, match=r"role 'evaluator'.*--evaluate=20"):
    program.make_nodes(config, 'evaluator')


def test_refuses_an_unknown_role():
  with pytest.raises(
    ValueError, match="is 'boss', expected 'all' or 'learner'"
  ):
    program.Placement('boss')


@pytest.mark.parametrize(
  'fields, told',
  [
    ({'port_base': 0}, r'port_base \(--port-base\) is 0, expected a'),
    ({'port_base': 65536}, r'is 65536, .*\[1, 65535\]'),
    ({'learner_host': 'http://gpu'}, r'\(--learner-host\) is .http://gpu'),
    ({'learner_host': 'gpu:5300'}, "is 'gpu:5300', expected .* a host name"),
    ({'on_accelerator': ('learner',)}, r"--on-accelerator.*\[0\] is 'learner'"),
  ],
)
def test_refuses_what_is_no_port_host_or_node(fields, told):
  with pytest.raises(ValueError, match=told):
    program.Placement(**fields)


def test_the_ports_of_several_runs_must_exist():
  placement = program.Placement('actor', port_base=65535)
  placement.check_ports()
  with pytest.raises(ValueError, match='expected 1 to 65534, since it and'):
    placement.check_ports(2)


def test_an_actor_needs_the_learners_key(tmp_path):
  config = fake_run.make_config(tmp_path / 'run')
  placement = program.Placement('actor', 5300, learner_host='192.0.2.1')
  with pytest.raises(keys.KeyFileError, match=r'key.pem is not there.*scp -p'):
    program.make_program(config, placement)
  keys.make(tmp_path / 'copied.pem')
  named = program.Placement('actor', 5300, key_file=tmp_path / 'copied.pem')
  program.make_program(config, named)
  (tmp_path / 'copied.pem').chmod(0o644)
  with pytest.raises(keys.KeyFileError, match=r'0644.*chmod 600'):
    program.make_program(config, named)
  with pytest.raises(ValueError, match="for the role 'all'"):
    program.Placement(key_file='key.pem')


def test_an_actor_beside_its_learner_waits_for_the_key(tmp_path):
  file = keys.path(tmp_path)
  learner = threading.Timer(0.5, keys.make, [file])
  learner.start()
  placement = program.Placement('actor', port_base=5300)
  assert placement.prepare_key(tmp_path) == file
  learner.join()


def test_only_a_learner_by_role_is_open_to_other_machines():
  assert program.Placement().host == '127.0.0.1'
  assert program.Placement('learner', port_base=5300).host == '[::]'


def test_a_learners_key_stays_and_that_of_one_machine_is_new(tmp_path):
  by_role = program.Placement('learner', port_base=5300)
  file = by_role.prepare_key(tmp_path)
  first = keys.read(file)
  assert file.stat().st_mode & 0o777 == 0o600
  assert keys.read(by_role.prepare_key(tmp_path)) == first
  assert keys.read(program.HERE.prepare_key(tmp_path)) != first


@pytest.mark.parametrize('role', ['all', 'learner'])
def test_a_learner_listens_on_the_port_that_is_named(tmp_path, role):
  config = fake_run.make_config(tmp_path / 'run')
  placement = program.Placement(role, port_base=5300)
  made = program.make_program(config, placement)
  for nodes in made.groups.values():
    for node in nodes:
      node._initialize_context(context.LaunchType.LOCAL_MULTI_PROCESSING, None)
      node.bind_addresses()
  (calls,) = [line for line in program.listeners(made) if 'calls' in line]
  assert f'{placement.host}:5300' in calls
