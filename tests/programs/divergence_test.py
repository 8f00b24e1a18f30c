import dataclasses

import numpy as np
import pytest

from serl import programs
from serl import specs
from serl import types
from serl.agents import drq
from serl.agents import rlpd
from serl.agents import sac
from serl.programs import divergence
from tests.programs.distributed import fake_run

_BOUNDED = fake_run.SPEC._replace(
  rewards=specs.BoundedArray((), np.float32, 0.0, 0.5)
)


def _check(spec=_BOUNDED, wrap=lambda builder: builder, **fields):
  config = dataclasses.replace(sac.cpu(), discount=0.9, **fields)
  run = fake_run.make_config('run')
  run = dataclasses.replace(run, builder=wrap(sac.SACBuilder(config)))
  return divergence.ValueCheck(run, spec)


def _batch(reward):
  return types.Transition({}, None, np.float32(reward), None, {})


@pytest.mark.parametrize('value', [6.3, -1.3, 1e23, -np.inf, np.nan])
def test_values_beyond_the_returns_are_named(value):
  # Rewards of 0 to 0.5 give returns of 0 to 5; the margin is 1.25.
  found = _check().check({'critic_value': np.float32(value)})
  assert f'critic_value {value:.4g}' in found
  assert 'expected from -1.25 to 6.25' in found


@pytest.mark.parametrize('value', [6.2, -1.2, 0.0])
def test_values_that_returns_may_have_are_not(value):
  metrics = {'critic_value': value, 'critic_loss': 1e3, 'entropy': -9.0}
  assert _check().check(metrics) == ''


def test_the_agents_own_bounds_come_first():
  check = _check(return_bounds=(0.0, 1.0))
  assert 'target_value 2' in check.check({'target_value': 2.0})
  assert check.check({'gripper_critic_value': 1.2}) == ''


def test_bounds_are_found_in_agents_around_agents():
  config = drq.cpu()
  inner = dataclasses.replace(config.sac, return_bounds=(-2.0, 2.0))
  agent = drq.DrQBuilder(dataclasses.replace(config, sac=inner))
  check = _check(wrap=lambda builder: rlpd.RLPDBuilder(agent))
  assert check.check({'critic_value': 2.9}) == ''
  assert check.check({'critic_value': 3.1})


def test_without_bounds_values_may_be_a_multiple_of_the_rewards():
  check = _check(fake_run.SPEC)
  # 10 times the return of the largest reward, at first 1.
  assert check.check({'critic_value': 99.0}) == ''
  assert check.check({'critic_value': 101.0})
  batches = check.watch(iter([_batch([[0.0, -20.0]]), _batch([[0.0]])]))
  assert next(batches).reward.shape == (1, 2)
  assert check.check({'critic_value': -1999.0}) == ''
  next(batches)
  assert check.check({'critic_value': -1999.0}) == ''
  assert check.check({'critic_value': -2001.0})


def test_a_batch_that_does_not_come_ends_nothing():
  class Late:
    def __init__(self):
      self.asked = 0

    def __next__(self):
      self.asked += 1
      if self.asked == 1:
        raise TimeoutError
      return _batch([1.0])

  batches = _check().watch(Late())
  with pytest.raises(TimeoutError):
    next(batches)
  assert next(batches).reward == 1.0


def test_any_metric_may_be_too_great():
  assert 'loss 1e+13' in _check().check({'loss': 1e13})


def test_a_run_that_diverges_is_no_success(tmp_path):
  summary = programs.run_local(
    fake_run.make_config(
      tmp_path / 'run',
      max_env_steps=200,
      steps_per_second=None,
      evaluate=False,
      learning_rate=1e7,
      log_period_s=0.01,
    )
  )
  assert 'the learner diverges: ' in summary.divergence
  assert 'WARNING: learner step ' in str(summary)
  assert not summary.is_success
  assert str(summary).splitlines()[-1].startswith('Not a success: at its end')
