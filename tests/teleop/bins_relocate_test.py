"""The expert takes the cube to the other bin, always."""

import numpy as np
import pytest

from serl import core
from serl.environments.franka import poses
from serl.environments.franka.tasks import bins_relocate as task_lib
from serl.environments.sim import bins_relocate
from serl.environments.wrappers import relative_frame
from serl.teleop import bins_relocate as expert_lib

EPISODES = 20


@pytest.mark.parametrize(
  'config, wrap',
  [
    (bins_relocate.FORWARD, lambda environment: environment),
    (bins_relocate.BACKWARD, relative_frame.RelativeFrame),
  ],
)
def test_relocates_always(config, wrap):
  environment = wrap(bins_relocate.make(1, config))
  expert = expert_lib.BinsRelocateExpert(0.1, 0, environment)
  for _ in range(EPISODES):
    timestep = environment.reset()
    expert.observe_first(timestep)
    steps = 0
    while not timestep.last():
      action = expert.select_action(timestep.observation)
      environment.action_spec().validate(action)
      timestep = environment.step(action)
      expert.observe(action, timestep)
      expert.update()
      steps += 1
    assert environment.episode_metrics()['success'] == 1.0
    assert timestep.discount == 0.0 and steps < 70


class Bench:
  """A tool that is turned as the task has it, and a cube in the left bin."""

  task = task_lib.FORWARD_STATE
  cube_position = np.array((0.5, 0.1, 0.045))
  goal = np.array((0.485, -0.075, 0.045))

  def __init__(self, *position):
    self.scene = self
    self.put(*position)

  def put(self, *position):
    """Puts the tool somewhere, m."""
    pose = poses.from_euler(self.task.reset)
    self.tool_pose = np.array((*position, *pose[3:]))


def test_it_is_an_actor():
  expert = expert_lib.BinsRelocateExpert(environment=Bench(0.5, 0.1, 0.15))
  assert isinstance(expert, core.Actor)


def test_it_grasps_lifts_and_only_then_carries():
  bench = Bench(0.5, 0.1, 0.06)
  expert = expert_lib.BinsRelocateExpert(environment=bench)
  action = expert.select_action({})
  assert action[2] < 0 and action[6] == 1.0
  bench.put(0.5, 0.1, 0.048)
  assert expert.select_action({})[6] == -1.0
  action = expert.select_action({})
  np.testing.assert_allclose(action[:2], 0.0, atol=1e-6)
  assert action[2] == 1.0 and action[6] == -1.0
  # Up there with the cube.
  bench.put(0.5, 0.1, 0.115)
  bench.cube_position = np.array((0.5, 0.1, 0.112))
  action = expert.select_action({})
  assert action[1] < -0.9 and action[6] == -1.0
  # It has slipped out: down again, and open.
  bench.cube_position = np.array((0.5, 0.1, 0.045))
  action = expert.select_action({})
  assert action[2] < 0 and action[6] == 1.0


def test_it_lets_go_and_leaves():
  bench = Bench(0.5, 0.1, 0.048)
  experts = [
    expert_lib.BinsRelocateExpert(environment=bench, lets_go=lets_go)
    for lets_go in (True, False)
  ]
  for expert in experts:
    assert expert.select_action({})[6] == -1.0
  bench.put(0.485, -0.075, 0.052)
  bench.cube_position = np.array((0.485, -0.075, 0.05))
  for _ in range(2):
    held = experts[1].select_action({})
  np.testing.assert_allclose(held[:3], 0.0, atol=1e-6)
  assert held[6] == -1.0
  assert experts[0].select_action({})[6] == 1.0
  action = experts[0].select_action({})
  np.testing.assert_allclose(action[:2], 0.0, atol=1e-6)
  assert action[2] == 1.0 and action[6] == 1.0


def test_refuses_negative_noise_and_no_environment():
  with pytest.raises(ValueError, match=r'noise=-0\.1'):
    expert_lib.BinsRelocateExpert(noise=-0.1)
  with pytest.raises(ValueError, match='environment=None'):
    expert_lib.BinsRelocateExpert()


def test_it_wanders_all_over_for_a_classifier_to_look_past_the_arm():
  bench = Bench(0.5, 0.1, 0.15)
  expert = expert_lib.BinsRelocateExpert(environment=bench, wanders=True)
  task, tools, grippers = bench.task, [], set()
  for _ in range(600):
    action = expert.select_action({})
    tool = bench.tool_pose[:3] + task.action_scale[0] * action[:3]
    bench.put(*tool)
    tools.append(tool)
    grippers.add(float(action[6]))
  low, high = np.array(task.pose_low[:3]), np.array(task.pose_high[:3])
  tools = (np.array(tools) - low) / (high - low)
  assert np.all(tools.min(axis=0) < 0.15) and np.all(tools.max(axis=0) > 0.85)
  assert tools.min() > -0.01 and tools.max() < 1.01
  assert grippers == {-1.0, 1.0}
  # About the cube, which the gripper hides, more often than by chance.
  away = np.linalg.norm(
    tools * (high - low) + low - bench.cube_position, axis=1
  )
  assert np.mean(away < 0.05) > 0.15
