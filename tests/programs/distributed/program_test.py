"""Which nodes run where."""

import pytest

pytest.importorskip(
  'launchpad', reason='Launchpad has wheels for Python 3.10 alone'
)

from serl.programs.distributed import program
from tests.programs.distributed import fake_run


def test_every_node_has_one_role(tmp_path):
  config = fake_run.make_config(tmp_path, num_actors=2)
  parts = {
    role: set(program.make_nodes(config, role))
    for role in ('learner', 'actor', 'evaluator')
  }
  assert parts == {
    'learner': {'replay', 'learner'},
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
  with pytest.raises(ValueError, match="role is 'boss', expected one of"):
    program.Placement('boss')
