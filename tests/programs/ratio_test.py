from serl.programs import ratio


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
