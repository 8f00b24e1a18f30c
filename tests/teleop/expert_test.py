"""What experts share; that they are actors is in the tests of each."""

import dm_env
import numpy as np
import pytest

from serl.teleop import expert


class Counting(expert.Expert):
  """Counts its attempts."""

  attempts = 0

  def begin(self):
    self.attempts += 1


def test_an_episode_is_an_attempt():
  actor = Counting(0.0, 0)
  for attempts in (1, 2):
    actor.observe_first(dm_env.restart({}))
    actor.observe(np.zeros(2), dm_env.transition(0.0, {}))
    actor.update()
    assert actor.attempts == attempts


@pytest.mark.parametrize('noise', [-0.1, float('nan')])
def test_refuses_noise_that_is_none(noise):
  with pytest.raises(ValueError, match=f'noise={noise}'):
    expert.Expert(noise, 0)
