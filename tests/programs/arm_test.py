"""The command line of the tasks on an arm, in a process of its own."""

import dataclasses
import subprocess
import sys
import textwrap

import numpy as np

from serl import specs
from serl.environments.franka.tasks import bins_relocate
from serl.programs import arm
from serl.testing import fakes

SPEC = fakes.make_state_spec()._replace(
  observations={
    'tcp_pose': specs.BoundedArray((7,), np.float32, -1.0, 1.0),
    'wrist_1': specs.BoundedArray((8, 8, 3), np.uint8, 0, 255),
    'front': specs.BoundedArray((8, 8, 3), np.uint8, 0, 255),
  }
)


def seen(config, images):
  environment = arm.rewarded(fakes.FakeEnvironment(SPEC), config, None, images)
  return set(environment.observation_spec())


def test_the_policy_does_not_see_what_is_for_the_reward():
  config = bins_relocate.FORWARD
  assert seen(config, images=True) == {'tcp_pose', 'wrist_1'}
  assert seen(config, images=False) == {'tcp_pose'}
  without = dataclasses.replace(config, cameras=())
  assert seen(without, images=False) == set(SPEC.observations)
  spec = arm.make_spec(config)
  assert 'wrist_1' in spec.observations and 'front' not in spec.observations


def run(call, *flags):
  """Runs an expression with the flags of a task; returns what it prints."""
  code = f"""
    import sys
    from serl.environments.sim import cable_route
    from serl.programs import arm
    from absl import flags
    arm.define_flags('cable_route')
    flags.FLAGS(sys.argv)
    twin = arm.Twin(cable_route.make, cable_route.STATE, None)
    print({call})
  """
  return subprocess.run(
    [sys.executable, '-c', textwrap.dedent(code), *flags],
    capture_output=True,
    text=True,
    check=False,
  )


def test_a_real_task_without_a_threshold_needs_a_classifier(tmp_path):
  find = f'arm.find_classifier("{tmp_path}", arm.load()[0], twin, "part")'
  done = run(find)
  assert done.returncode == 1
  assert done.stderr.startswith('The task has no threshold: a classifier')
  assert 'record_transitions TASK --robot' in done.stderr
  done = run(find, '--classifier=mine')
  assert done.stdout.strip() == 'mine/part/classifier.safetensors'


def test_a_script_does_not_correct_tasks_that_alternate():
  done = run('arm.alternate({}, None)', '--twin', '--correct-after=5')
  assert done.returncode == 1
  assert done.stderr.startswith('correct-after=5; expected none where tasks')
