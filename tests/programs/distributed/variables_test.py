"""What the nodes of a launch are given: cores, memory and devices."""

import os

import pytest

pytest.importorskip(
  'launchpad', reason='Launchpad has wheels for Python 3.10 alone'
)

from serl.programs.distributed import variables

_TWO = ('learner', 'learner', 'actor_0', 'evaluator')
_SHARE = 'XLA_CLIENT_MEM_FRACTION'


def test_one_learner_has_the_machine():
  names = ('learner', 'actor_0', 'evaluator')
  learner = variables.of_node('learner', (), names, {})
  assert learner['NPROC'] == str(len(os.sched_getaffinity(0)))
  assert 'JAX_PLATFORMS' not in learner
  # JAX's own share.
  assert _SHARE not in learner


def test_learners_share_cores_and_memory():
  learner = variables.of_node('learner', (), _TWO, {})
  assert learner['NPROC'] == str(max(1, len(os.sched_getaffinity(0)) // 2))
  assert learner[_SHARE] == '0.450'


@pytest.mark.parametrize('name', ['actor_0', 'evaluator'])
def test_the_others_are_on_the_cpu_unless_told(name):
  given = {'JAX_PLATFORM_NAME': 'gpu'}
  node = variables.of_node(name, (), _TWO, given)
  assert node['JAX_PLATFORMS'] == node['JAX_PLATFORM_NAME'] == 'cpu'
  assert _SHARE not in node
  told = variables.of_node(name, ('actor', 'evaluator'), _TWO, given)
  assert 'JAX_PLATFORMS' not in told and 'XLA_FLAGS' not in told
  assert told[_SHARE] == '0.225'


@pytest.mark.parametrize(
  'name, value',
  [
    ('XLA_PYTHON_CLIENT_MEM_FRACTION', '0.3'),
    ('XLA_CLIENT_MEM_FRACTION', '0.3'),
    ('XLA_PYTHON_CLIENT_PREALLOCATE', 'false'),
    ('XLA_PYTHON_CLIENT_ALLOCATOR', 'platform'),
  ],
)
def test_what_the_user_has_set_of_the_memory_stays(name, value):
  learner = variables.of_node('learner', (), _TWO, {name: value})
  assert _SHARE not in learner


def test_launchpads_library_is_found_beside_the_users():
  learner = variables.of_node('learner', (), _TWO, {'LD_LIBRARY_PATH': '/mine'})
  assert learner.get('LD_LIBRARY_PATH', '/mine').split(':')[-1] == '/mine'
