"""Demonstrations whose rewards another gives than gave them."""

import numpy as np
import pytest

from serl.demos import files
from serl.demos import judged
from serl.demos import log as log_lib
from serl.demos import recording
from serl.testing import fakes

SPEC = fakes.make_state_spec()


def _episode(steps=5, seed=0):
  """Returns one whose observation t has t in its gripper."""
  episode = fakes.make_episode(SPEC, steps, seed)
  gripper = episode.observation['gripper']
  numbers = np.arange(steps + 1, dtype=gripper.dtype).reshape(-1, 1)
  observation = {**episode.observation, 'gripper': numbers + 0 * gripper}
  extras = {'intervened': np.arange(steps, dtype=np.uint8)}
  return episode._replace(observation=observation, extras=extras)


def _reached(number):
  return lambda observation: bool(observation['gripper'][0] >= number)


def test_ends_where_success_comes_first():
  episode = _episode()
  cut = judged.judge(episode, _reached(3))
  assert cut.reward.tolist() == [0, 0, 1]
  assert cut.discount.tolist() == [*episode.discount[:2], 0]
  assert cut.extras['intervened'].tolist() == [0, 1, 2]
  assert cut.observation['gripper'][:, 0].tolist() == [0, 1, 2, 3]
  np.testing.assert_array_equal(cut.action, episode.action[:3])
  # What an episode begins with is not judged.
  assert judged.judge(episode, _reached(0)).length == 1


def test_without_success_it_ends_as_it_did():
  episode = _episode()
  whole = judged.judge(episode, _reached(9))
  assert whole.length == 5 and not whole.reward.any()
  np.testing.assert_array_equal(whole.discount, episode.discount)


def test_anothers_success_is_no_end_without_a_success():
  reward = np.float32([0, 0, 0, 0, 1])
  discount = np.float32([1, 1, 1, 1, 0])
  episode = _episode()._replace(reward=reward, discount=discount)
  whole = judged.judge(episode, _reached(9))
  assert not whole.reward.any() and whole.discount.all()
  # A failure that ended it stays one.
  failed = episode._replace(reward=0 * reward)
  assert judged.judge(failed, _reached(9)).discount[-1] == 0


@pytest.fixture
def demos(tmp_path):
  log = log_lib.EpisodeLog(tmp_path / 'demos', SPEC)
  for seed in range(3):
    log.append(_episode(4 + seed, seed))
  return tmp_path / 'demos'


def test_an_interrupted_copy_goes_on(demos, tmp_path):
  folder, looks = tmp_path / 'run', []

  def interrupted(observation):
    looks.append(observation)
    if len(looks) > 6:  # in the second episode; the first has 4 steps
      raise KeyboardInterrupt
    return _reached(4)(observation)

  with pytest.raises(KeyboardInterrupt):
    judged.write(demos, folder, SPEC, interrupted)
  assert len(files.find(folder)) == 1
  judged.write(demos, folder, SPEC, _reached(4))
  found = recording.load(folder, SPEC)
  assert [e.reward.tolist() for e in found] == [[0, 0, 0, 1]] * 3
  # All are there: nothing is judged again.
  judged.write(demos, folder, SPEC, interrupted)


def test_success_in_none_is_refused(demos, tmp_path):
  with pytest.raises(files.FileError, match='in none of 3 demonstrations'):
    judged.write(demos, tmp_path / 'run', SPEC, _reached(99), 'strict')
  judged.write(demos, tmp_path / 'run', SPEC, _reached(4), 'another')
  with pytest.raises(files.FileError, match='or was judged by another'):
    judged.write(demos, tmp_path / 'run', SPEC, _reached(4), 'strict')


def test_the_rate_stays_known(demos, tmp_path):
  log = log_lib.EpisodeLog(demos, SPEC, {'note': 'x'}, steps_per_second=20.0)
  log.append(_episode(7, 3))
  judged.write(demos, tmp_path / 'run', SPEC, _reached(4))
  told = [files.read(path)[1] for path in files.find(tmp_path / 'run')]
  assert [t.get(files.RATE) for t in told] == [None, None, None, 20]


def test_others_in_the_folder_are_refused(demos, tmp_path):
  judged.write(demos, tmp_path / 'run', SPEC, _reached(4))
  demos.rename(tmp_path / 'others')
  with pytest.raises(files.FileError, match='others, or was judged by'):
    judged.write(tmp_path / 'others', tmp_path / 'run', SPEC, _reached(4))
