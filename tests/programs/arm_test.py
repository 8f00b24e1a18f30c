"""The command line of the tasks on an arm, in a process of its own."""

import json
import subprocess
import sys

import pytest

from serl.environments.franka import environment as environment_lib
from serl.environments.franka import robot as robot_lib
from serl.environments.franka.tasks import bins_relocate
from serl.programs import arm
from serl.programs import reward


def test_a_learner_is_told_what_the_policy_sees_of_the_real_arm():
  spec = arm.make_spec(bins_relocate.FORWARD)
  assert 'wrist_1' in spec.observations and 'front' not in spec.observations


_PROGRAM = """
import json
import sys

from absl import flags
from absl.testing import flagsaver
from serl.environments.sim import cable_route
from serl.programs import arm

arm.define_flags('cable_route')
flags.FLAGS(sys.argv[:1])
twin = arm.Twin(cable_route.make, cable_route.STATE, print)
for call, *given in json.loads(sys.argv[1]):
  with flagsaver.flagsaver():
    flags.FLAGS([sys.argv[0], *given])
    print(eval(call))
"""


def run(*calls):
  """Runs expressions, each with flags of a task; prints what they return."""
  return subprocess.run(
    [sys.executable, '-c', _PROGRAM, json.dumps(calls)],
    capture_output=True,
    text=True,
    check=False,
  )


def test_an_arm_is_let_go_of_where_its_classifier_is_missing(
  monkeypatch, tmp_path
):
  monkeypatch.setattr(robot_lib, 'take_precedence', lambda: True)
  closed = []
  monkeypatch.setattr(
    environment_lib.FrankaEnvironment, 'close', lambda self: closed.append(self)
  )
  source = reward.Source(str(tmp_path / 'none.safetensors'))
  with pytest.raises(FileNotFoundError):
    arm._make_real(bins_relocate.FORWARD_STATE, None, source, 0)
  assert len(closed) == 1


def test_no_script_corrects_on_the_real_arm(tmp_path):
  call = f'arm.fields({str(tmp_path)!r}, arm.load()[0], twin)'
  done = run([call, '--classifier=mine', '--correct-after=5'])
  assert done.returncode == 1
  assert done.stderr.startswith('correct-after=5; expected it with --twin')


def test_a_script_or_a_person_corrects(tmp_path):
  call = f'arm.fields({str(tmp_path)!r}, arm.load()[0], twin)'
  both = '--correct-after=5', '--intervene=keyboard'
  done = run([call, '--twin', '--classifier=mine', *both])
  assert done.returncode == 1
  assert done.stderr.startswith('correct-after=5 and intervene=keyboard')


def test_the_flag_overrules_how_much_a_task_clones():
  asked = 'arm.agent(cloning=0.3, return_bounds=(0.0, 1.0)).config'
  call = f'{asked}.cloning, {asked}.return_bounds, {asked}.min_replay_size'
  images = 'arm.agent(cloning=0.3).config.sac.cloning', '--images'
  done = run([call], [call, '--cloning=0'], images)
  assert done.stdout.splitlines() == [
    '(0.3, (0.0, 1.0), 200)',
    '(0.0, (0.0, 1.0), 200)',
    '0.3',
  ], done.stderr


def test_the_flag_has_any_task_cloned():
  call = "arm.chosen('rlpd', arm.load()[0])"
  done = run([call], [f'{call}.make_tables()[0].source', '--agent=bc'])
  assert done.stdout.split() == ['rlpd', 'demonstrations'], done.stderr


def test_a_run_goes_on_after_success_if_asked(tmp_path):
  asked = f'{str(tmp_path)!r}, arm.load()[0], twin, stop_at_successes=20'
  call = f"arm.fields({asked})['stop_at_successes']"
  asked = '--twin', '--classifier=mine', f'--demos={tmp_path}', '--role=actor'
  done = run([call, *asked], [call, *asked, '--nostop-at-success'])
  assert done.stdout.split() == ['20', 'None'], done.stderr


def test_returns_are_bounded_where_nothing_but_success_is_rewarded(tmp_path):
  call = (
    'setattr(arm.command, "run", lambda config: config), '
    f'arm.run({str(tmp_path / "run")!r}, twin).builder.builder.config)[1]'
  )
  flags = '--classifier=mine', f'--demos={tmp_path}', '--role=actor', '--twin'
  call = f'({call}.return_bounds'
  # Switching the gripper of the bins costs something.
  tasks = '--task=cable_route', '--task=bins_forward'
  done = run(*([call, *flags, task] for task in tasks))
  assert done.stdout.splitlines() == ['(0.0, 1.0)', 'None'], done.stderr
