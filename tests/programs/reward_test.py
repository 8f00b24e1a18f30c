"""Which classifier rewards, and what the policy sees then."""

import dataclasses
import subprocess
import sys
import textwrap

import numpy as np

from serl import specs
from serl.environments.franka.tasks import bins_relocate
from serl.programs import reward
from serl.testing import fakes

SPEC = fakes.make_state_spec()._replace(
  observations={
    'tcp_pose': specs.BoundedArray((7,), np.float32, -1.0, 1.0),
    'wrist_1': specs.BoundedArray((8, 8, 3), np.uint8, 0, 255),
    'front': specs.BoundedArray((8, 8, 3), np.uint8, 0, 255),
  }
)


def seen(config, images):
  environment = reward.wrap(fakes.FakeEnvironment(SPEC), config, None, images)
  return set(environment.observation_spec())


def test_the_policy_does_not_see_what_is_for_the_reward():
  config = bins_relocate.FORWARD
  assert seen(config, images=True) == {'tcp_pose', 'wrist_1'}
  assert seen(config, images=False) == {'tcp_pose'}
  without = dataclasses.replace(config, cameras=())
  assert seen(without, images=False) == set(SPEC.observations)


def find(folder, *given):
  """Finds the classifiers of tasks that nobody attempts; prints them."""
  code = f"""
    import sys
    from absl import flags
    from serl.environments.franka import tasks
    from serl.programs import command
    from serl.programs import reward
    command.define_flags()
    reward.define_flags()
    flags.FLAGS(sys.argv)
    for name in ('peg_insert', 'cable_route'):
      found = reward.find({str(folder)!r}, tasks.load(name), None, 'part')
      print(found and (found.path, found.weights, found.digest[:6]))
  """
  return subprocess.run(
    [sys.executable, '-c', textwrap.dedent(code), *given],
    capture_output=True,
    text=True,
    check=False,
  )


def test_a_task_without_a_threshold_needs_a_classifier(tmp_path):
  done = find(tmp_path)
  assert done.stdout.strip() == 'None'
  assert done.returncode == 1
  assert done.stderr.startswith('The task has no threshold: a classifier')
  assert 'record_transitions TASK --robot' in done.stderr


def test_a_classifier_of_ones_own_is_told_by_what_it_holds(tmp_path):
  path = tmp_path / 'mine/part/classifier.safetensors'
  given = f'--classifier={tmp_path / "mine"}', '--classifier-weights=resnet10'
  for holds, digest in ((None, ''), (b'', 'e3b0c4'), (b'more', '187897')):
    if holds is not None:
      path.parent.mkdir(parents=True, exist_ok=True)
      path.write_bytes(holds)
    lines = find(tmp_path / 'run', *given).stdout.splitlines()
    assert lines == ['None', str((str(path), 'resnet10', digest))]
