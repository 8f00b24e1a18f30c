import pytest

from serl.environments.wrappers import pacing
from serl.programs import ratio
from serl.testing import fakes


def test_steps_before_the_start_owe_no_updates():
  asked = ratio.UpdateRatio(asked=2.0, start_step=100, updates_per_round=8)
  assert not asked.may_update(env_steps=100, rounds=0)
  assert not asked.may_update(env_steps=103, rounds=0)  # 6 of 8 updates
  assert asked.may_update(env_steps=104, rounds=0)
  assert not asked.may_update(env_steps=104, rounds=1)


def test_never_above_what_is_asked():
  asked = ratio.UpdateRatio(asked=1.6, start_step=10, updates_per_round=8)
  rounds = 0
  for step in range(1000):
    while asked.may_update(step, rounds):
      rounds += 1
    assert asked.achieved(step, rounds) <= 1.6
  # And at most one round below.
  assert 1.6 * (999 - 10) - rounds * 8 < 8


def test_achieved_is_zero_before_the_start():
  asked = ratio.UpdateRatio(asked=1.6, start_step=10, updates_per_round=8)
  assert asked.achieved(env_steps=10, rounds=0) == 0


@pytest.mark.parametrize('asked', [0.001, 1.0, 1.6, 20.0])
def test_where_steps_are_overdue_a_round_may_be_made(asked):
  # Else learner and actor would wait for each other.
  asked = ratio.UpdateRatio(asked=asked, start_step=100, updates_per_round=8)
  for rounds in (0, 1, 1000):
    for step in (0, 100, 105, 1000, 7_999, 8_100, 10**7):
      may = asked.may_update(step, rounds)
      assert may == (asked.overdue(step, rounds) >= 0)


def test_steps_are_overdue_from_when_a_round_is_due():
  asked = ratio.UpdateRatio(asked=2.0, start_step=100, updates_per_round=8)
  assert asked.overdue(env_steps=104, rounds=0) == 0
  assert asked.overdue(env_steps=154, rounds=0) == 50
  assert asked.overdue(env_steps=154, rounds=10) == 10


class _Arm(fakes.FakeEnvironment):
  """Says whether it runs in real time."""

  def __init__(self, real_time):
    super().__init__(fakes.make_state_spec())
    self.real_time = real_time


def test_actors_wait_in_simulation_by_default_and_never_on_an_arm():
  simulation = fakes.FakeEnvironment(fakes.make_state_spec())
  # Paced or not, its time is that of its steps.
  for environment in (
    simulation,
    pacing.RealTime(simulation, 0.1),
    _Arm(False),
  ):
    assert ratio.keeps(None, environment)
    assert ratio.keeps(True, environment)
    assert not ratio.keeps(False, environment)
  for arm in (_Arm(True), pacing.RealTime(_Arm(True), 0.1)):
    assert not ratio.keeps(None, arm)
    assert not ratio.keeps(False, arm)
    with pytest.raises(ValueError, match='runs in real time, as a real arm'):
      ratio.keeps(True, arm)
