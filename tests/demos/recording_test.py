"""Tests for recording."""

import pickle

import jax
import numpy as np
import pytest

from serl import core
from serl import environment_loop
from serl import specs
from serl.demos import files
from serl.demos import log as log_lib
from serl.demos import recording
from serl.demos import records
from serl.testing import fakes


def _spec():
  return fakes.make_state_spec()


def _make(success, **kwargs):
  return lambda seed: fakes.FakeEnvironment(
    _spec(), seed=seed, success=success, **kwargs
  )


def _record(success, episodes, folder=None, **kwargs):
  actor = fakes.FakeActor(_spec())
  return recording.record(_make(success), actor, episodes, folder, **kwargs)


def test_records_as_many_as_asked_for(tmp_path):
  episodes = _record(1.0, 3, tmp_path)
  assert [e.length for e in episodes] == [10, 10, 10]
  (first, metadata) = files.read(tmp_path / '000000.npz', _spec())
  np.testing.assert_array_equal(first.action, episodes[0].action)
  assert len(files.paths(tmp_path)) == 3
  assert metadata['actor'] == 'FakeActor'
  assert metadata['episode_return'] == pytest.approx(first.reward.sum(), 1e-5)


def test_keeps_the_rate_of_the_environment(tmp_path):
  environment = fakes.FakeEnvironment(_spec(), success=1.0)
  environment.control_timestep = 0.02
  actor = fakes.FakeActor(_spec())
  recording.record(lambda seed: environment, actor, 1, tmp_path)
  assert files.read(tmp_path / '000000.npz')[1][files.RATE] == 50
  _record(1.0, 1, tmp_path / 'unknown')
  assert files.RATE not in files.read(tmp_path / 'unknown' / '000000.npz')[1]


class _Broken(fakes.FakeEnvironment):
  """Has no good step."""

  def step(self, action):
    raise core.FaultError('the arm has no power')


def test_a_robot_that_fails_for_ever_ends_the_recording(tmp_path):
  with pytest.raises(
    environment_loop.FaultLimitError, match='the arm has no power'
  ):
    recording.record(
      lambda seed: _Broken(_spec()),
      fakes.FakeActor(_spec()),
      1,
      tmp_path,
      fault_limit_s=0.6,
    )


class _Closing(fakes.FakeEnvironment):
  closed = False

  def close(self):
    self.closed = True


def test_closes_the_environment_where_its_folder_cannot_be_used(tmp_path):
  (tmp_path / '000000.npz').write_bytes(b'no episode')
  environment = _Closing(_spec())
  with pytest.raises(files.FileError):
    recording.record(
      lambda seed: environment, fakes.FakeActor(_spec()), 3, tmp_path
    )
  assert environment.closed


def test_keeps_only_those_that_succeeded():
  # Of this environment's first three episodes, the seed lets some fail.
  taken = []
  keep = lambda metrics: (
    bool(taken.append(metrics['success'])) or (recording.succeeded(metrics))
  )
  episodes = _record(0.6, 5, keep=keep)
  assert len(episodes) == 5 == sum(taken)
  assert len(taken) > 5


def test_goes_on_with_other_episodes_where_it_was_interrupted(tmp_path):
  first = _record(1.0, 2, tmp_path)
  again = _record(1.0, 4, tmp_path)
  assert len(again) == 4
  np.testing.assert_array_equal(again[1].reward, first[1].reward)
  rewards = {e.reward.tobytes() for e in again}
  assert len(rewards) == 4  # none was recorded twice


def test_gives_up_on_an_actor_that_fails():
  with pytest.raises(recording.RecordingError, match='FakeActor gave 0 good'):
    _record(0.0, 3)


def test_keeps_what_was_recorded_before_it_gave_up(tmp_path):
  keep = lambda metrics: metrics['episodes'] <= 2
  with pytest.raises(
    recording.RecordingError, match=r'gave 2 good .*expected 5'
  ):
    _record(1.0, 5, tmp_path, keep=keep)
  assert len(files.paths(tmp_path)) == 2


def test_needs_to_be_told_what_a_success_is():
  with pytest.raises(recording.RecordingError, match='tells no success'):
    _record(None, 1)
  assert len(_record(None, 1, keep=lambda metrics: True)) == 1


def test_equal_seeds_record_equal_episodes():
  a, b, c = (_record(1.0, 1, seed=seed)[0] for seed in (3, 3, 4))
  np.testing.assert_array_equal(a.reward, b.reward)
  assert (a.reward != c.reward).any()


class _Operator(recording.Operator):
  """Does, at steps counted over all episodes, what it was told to."""

  def __init__(self, stop=None, restart=None, discard=()):
    self._stop, self._restart, self._discard = stop, restart, list(discard)
    self.seen, self.reports, self.heard = [], [], []

  def show(self, timestep):
    self.seen.append(timestep)

  def report(self, counts):
    self.reports.append(counts)

  def wants_stop(self):
    return len(self.seen) == self._stop

  def wants_restart(self):
    # Pressed once, heard once.
    pressed = len(self.seen) == self._restart
    self._restart = None if pressed else self._restart
    return pressed

  def wants_discard(self):
    return self._discard.pop(0) if self._discard else False

  def discarded(self, found):
    self.heard.append(found)


def test_an_operator_sees_every_timestep_and_hears_the_counts():
  operator = _Operator()
  _record(1.0, 2, operator=operator)
  assert [t.first() for t in operator.seen].count(True) == 2
  assert len(operator.seen) == 22
  assert operator.reports == [
    {'episodes': 1, 'attempts': 1},
    {'episodes': 2, 'attempts': 2},
  ]


def test_a_stop_loses_nothing_that_is_finished(tmp_path):
  operator = _Operator(stop=25)  # in the third episode, of 11 timesteps
  assert len(_record(1.0, 5, tmp_path, operator=operator)) == 2
  assert len(files.paths(tmp_path)) == 2
  assert len(_record(1.0, 5, tmp_path)) == 5


def test_a_restart_drops_the_episode_under_way(tmp_path):
  operator = _Operator(restart=5)
  episodes = _record(1.0, 2, tmp_path, operator=operator)
  assert [e.length for e in episodes] == [10, 10]
  assert len(files.paths(tmp_path)) == 2
  assert len(operator.seen) == 5 + 22


def test_discards_the_episode_before(tmp_path):
  # Asked after each episode; after the first there is none before it.
  operator = _Operator(discard=[True, True])
  episodes = _record(1.0, 2, tmp_path, operator=operator)
  names = [path.name for path in files.paths(tmp_path)]
  assert names == ['000001.npz', '000002.npz']
  assert operator.heard == [False, True]
  for episode, path in zip(episodes, files.paths(tmp_path)):
    np.testing.assert_array_equal(files.read(path)[0].reward, episode.reward)


def test_discards_no_good_episode_for_an_attempt_that_was_not_kept(tmp_path):
  outcomes = iter([True, False, True])
  operator = _Operator(discard=[False, False, True])  # of the second attempt
  episodes = _record(
    1.0, 2, tmp_path, operator=operator, keep=lambda _: next(outcomes)
  )
  assert len(episodes) == 2 and operator.heard == [False]
  names = [path.name for path in files.paths(tmp_path)]
  assert names == ['000000.npz', '000001.npz']


def test_discards_the_last_episode_when_it_stops(tmp_path):
  # Backspace, then Ctrl-C, in the third episode.
  operator = _Operator(stop=2 * 11 + 5, discard=[False, False, True])
  assert len(_record(1.0, 9, tmp_path, operator=operator)) == 1
  assert [path.stem for path in files.paths(tmp_path)] == ['000000']


def test_discards_nothing_that_was_there_before(tmp_path):
  _record(1.0, 1, tmp_path)
  operator = _Operator(discard=[True])
  assert len(_record(1.0, 2, tmp_path, operator=operator)) == 2
  assert files.paths(tmp_path)[0].name == '000000.npz'


def test_keeps_what_the_environment_tells_of_its_steps():
  class Telling(fakes.FakeEnvironment):
    def step_extras(self):
      return {'success': np.uint8(1)}

  (episode,) = recording.record(
    lambda seed: Telling(_spec(), seed=seed, success=1.0),
    fakes.FakeActor(_spec()),
    episodes=1,
  )
  assert episode.extras['success'].tolist() == [1] * 10


def test_loads_a_folder_a_file_or_a_list(tmp_path):
  episodes = _record(1.0, 2, tmp_path)
  for given in (tmp_path, str(tmp_path), episodes):
    loaded = recording.load(given, _spec())
    assert len(loaded) == 2
    np.testing.assert_array_equal(loaded[1].reward, episodes[1].reward)
  assert len(recording.load(tmp_path / '000001.npz', _spec())) == 1


def test_refuses_a_demonstration_of_one_step(tmp_path):
  episodes = _record(1.0, 2, tmp_path)
  snapshot = jax.tree.map(lambda x: x[:1], episodes[0])
  snapshot = snapshot._replace(
    observation=jax.tree.map(lambda x: x[:2], episodes[0].observation)
  )
  with pytest.raises(files.FileError, match=r'of 3 demonstrations.*\[2\] are'):
    recording.load_demonstrations([*episodes, snapshot], _spec())
  log = log_lib.EpisodeLog(tmp_path, _spec())
  log.append(snapshot)
  with pytest.raises(files.FileError, match=f'{tmp_path}.*of one step'):
    recording.load_demonstrations(tmp_path, _spec())
  # A goal is one.
  assert recording.load(tmp_path, _spec())[2].length == 1


def test_refuses_demonstrations_of_another_spec(tmp_path):
  episodes = _record(1.0, 1, tmp_path)
  other = _spec()._replace(actions=specs.Array((5,), np.float32))
  with pytest.raises(files.SpecError, match='actions: value'):
    recording.load(tmp_path, other)
  with pytest.raises(ValueError, match='action: '):
    recording.load(episodes, other)


def test_refuses_actions_of_another_range_wherever_they_are(tmp_path):
  (episode,) = _record(1.0, 1, tmp_path)
  narrow = specs.BoundedArray((1,), np.float32, -0.5, 0.5)
  narrow = narrow.replace(shape=_spec().actions.shape)
  spec = _spec()._replace(actions=narrow)
  with pytest.raises(files.SpecError, match=r'actions: .*expected'):
    recording.load(tmp_path, spec)
  action = np.full_like(episode.action, 0.5)
  action[3] = 0.75
  with pytest.raises(
    ValueError,
    match=r'demonstration 1(.|\n)*0\.75.* at step 3, expected within',
  ):
    recording.load(
      [
        episode._replace(action=np.zeros_like(action)),
        episode._replace(action=action),
      ],
      spec,
    )


def _write_useless(folder, form, **changes):
  """Writes demonstrations that are not worth their name."""
  spec = _spec()
  episode = fakes.make_episode(spec, 6)._replace(**changes)
  if form == 'episodes':
    log_lib.EpisodeLog(folder, spec).append(episode)
    return folder
  if form == 'rlds':
    # Not at the head: other tests need rlax to be there before TensorFlow is.
    pytest.importorskip('tensorflow_datasets', reason='no extra [rlds]')
    from serl.demos import rlds

    found = [records.Record('a', episode)]
    rlds.write(folder / 'rlds', found, spec)
    return folder / 'rlds'
  rows = [
    jax.tree.map(lambda x, t=t: x[t], episode.observation) for t in range(7)
  ]
  steps = [
    {
      'observations': rows[t],
      'next_observations': rows[t + 1],
      'actions': episode.action[t],
      'rewards': episode.reward[t],
      'masks': 1.0,
      'dones': t == 5,
    }
    for t in range(6)
  ]
  (folder / 'a.pkl').write_bytes(pickle.dumps(steps))
  return folder / 'a.pkl'


@pytest.mark.parametrize('form', ['episodes', 'rlds', 'pickle'])
def test_refuses_demonstrations_that_show_nothing_in_any_format(tmp_path, form):
  path = _write_useless(tmp_path, form, reward=np.zeros(6, np.float32))
  for load in (recording.load_demonstrations, recording.check_demonstrations):
    with pytest.raises(
      files.FileError,
      match=r'1 demonstrations, 6 steps(.|\n)*nothing is reward',
    ):
      load(path, _spec())
    load(path, _spec(), rewarded=False)


def test_a_pickle_takes_the_tasks_time_limit(tmp_path):
  path = _write_useless(tmp_path, 'pickle')
  steps = pickle.loads(path.read_bytes())
  steps[-1]['masks'] = 0.0
  path.write_bytes(pickle.dumps(steps))
  for time_limit, discount in ((None, 0), (6, 1), (7, 0)):
    (episode,) = recording.load_demonstrations(
      path, _spec(), time_limit=time_limit
    )
    assert episode.discount[-1] == discount
  with pytest.raises(files.FileError, match='convert the file with the one'):
    recording.load_demonstrations(path, _spec(), time_limit=5)
  # What was recorded here says itself how it ended.
  log_lib.EpisodeLog(tmp_path / 'log', _spec()).append(episode)
  (again,) = recording.load_demonstrations(
    tmp_path / 'log', _spec(), time_limit=6
  )
  assert again.discount[-1] == 0


def test_single_transitions_of_a_buffer_are_demonstrations(tmp_path):
  path = _write_useless(tmp_path, 'pickle')
  steps = pickle.loads(path.read_bytes())
  path.write_bytes(pickle.dumps([*steps[:3], steps[4]]))
  found = recording.load_demonstrations(path, _spec())
  assert [episode.length for episode in found] == [3, 1]
