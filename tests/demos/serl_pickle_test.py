"""Tests for serl_pickle."""

import os
import pathlib
import pickle

import numpy as np
import pytest

from serl.demos import files
from serl.demos import serl_pickle


def _observation(episode, step):
  """As SERL's wrappers give one: stacked frames lead every shape."""
  image = np.full((1, 4, 4, 3), 10 * episode + step, np.uint8)
  state = np.array([[episode, step, 0.5]], np.float32)
  return {'front': image, 'state': state, 'wrist': image + 100}


def _transitions(episode, length, mask=1.0):
  return [
    {
      'observations': _observation(episode, t),
      'actions': np.array([t / 10, -1.0], np.float32),
      'next_observations': _observation(episode, t + 1),
      'rewards': np.asarray(t, np.float32),
      'masks': mask if t == length - 1 else 1.0,
      'dones': t == length - 1,
    }
    for t in range(length)
  ]


def _read(tmp_path, content, **kwargs):
  path = tmp_path / 'demos.pkl'
  with open(path, 'wb') as file:
    pickle.dump(content, file)
  return list(serl_pickle.read(path, **kwargs))


def test_episodes_are_split_at_dones_and_every_observation_stands_once(
  tmp_path,
):
  first, second = _read(tmp_path, _transitions(1, 3) + _transitions(2, 2))
  assert first.name.endswith('demos.pkl, transitions 0 to 2')
  episode = first.episode
  np.testing.assert_array_equal(
    episode.observation['state'],
    [[1, 0, 0.5], [1, 1, 0.5], [1, 2, 0.5], [1, 3, 0.5]],
  )
  assert episode.observation['front'].shape == (4, 4, 4, 3)
  np.testing.assert_array_equal(
    episode.observation['wrist'][:, 0, 0, 0], [110, 111, 112, 113]
  )
  np.testing.assert_allclose(episode.action, [[0, -1], [0.1, -1], [0.2, -1]])
  np.testing.assert_array_equal(episode.reward, [0, 1, 2])
  assert second.episode.length == 2
  assert second.metadata == {'source': 'demos.pkl', 'end': 'time_limit'}


@pytest.mark.parametrize(
  ('mask', 'time_limit', 'discount', 'end'),
  [
    (1.0, None, 1, 'time_limit'),
    (0.0, None, 0, 'termination'),
    (0.0, 3, 1, 'time_limit'),
    (0.0, 4, 0, 'termination'),
  ],
)
def test_a_time_limit_is_told_by_the_mask_or_the_length(
  tmp_path, mask, time_limit, discount, end
):
  (record,) = _read(tmp_path, _transitions(1, 3, mask), time_limit=time_limit)
  np.testing.assert_array_equal(record.episode.discount, [1, 1, discount])
  assert record.metadata['end'] == end


def test_a_chain_with_a_gap_is_cut_there_and_bootstrapped_from(tmp_path):
  content = _transitions(1, 6, mask=0.0)
  del content[2]
  first, second = _read(tmp_path, content)
  assert first.metadata['end'] == 'cut'
  np.testing.assert_array_equal(first.episode.discount, [1, 1])
  assert first.episode.observation['state'][-1, 1] == 2
  assert second.metadata['end'] == 'termination'
  assert second.episode.observation['state'][0, 1] == 3
  # The end of the file is a cut too.
  (last,) = _read(tmp_path, _transitions(1, 6)[:4])
  assert last.metadata['end'] == 'cut'


def test_more_than_one_stacked_frame_is_kept(tmp_path):
  content = _transitions(1, 2)
  for transition in content:
    for name in ('observations', 'next_observations'):
      transition[name] = {
        k: np.repeat(v, 2, 0) for k, v in transition[name].items()
      }
  (record,) = _read(tmp_path, content)
  assert record.episode.observation['front'].shape == (3, 2, 4, 4, 3)
  assert record.episode.observation['state'].shape == (3, 2, 3)


def test_a_bare_observation_is_a_state(tmp_path):
  content = _transitions(1, 2)
  for transition in content:
    for name in ('observations', 'next_observations'):
      transition[name] = transition[name]['state'][0]
  (record,) = _read(tmp_path, content)
  assert record.episode.observation['state'].shape == (3, 3)


def test_snapshots_for_a_classifier_get_their_label(tmp_path):
  content = [_transitions(i, 1)[0] for i in range(3)]
  found = _read(tmp_path, content, success=True)
  assert [record.episode.extras['success'].tolist() for record in found] == (
    [[1]] * 3
  )
  assert found[0].episode.extras['success'].dtype == np.uint8
  # What tells a single step apart from an episode that was cut off.
  assert found[0].episode.extras['snapshot'].tolist() == [1]


def test_refuses_an_episode_of_one_step(tmp_path):
  with pytest.raises(
    files.FileError, match=r'transitions 3 to 3: an episode of one step'
  ):
    _read(tmp_path, _transitions(1, 3) + _transitions(2, 1))


def test_refuses_an_attack_without_running_it(tmp_path):
  class Bomb:
    def __reduce__(self):
      return (os.mkdir, (str(tmp_path / 'exploded'),))

  content = _transitions(1, 3)
  content[1]['infos'] = Bomb()
  with pytest.raises(
    files.PickleFileError, match=r'demos\.pkl.*mkdir, which is refused'
  ):
    _read(tmp_path, content)
  assert not (tmp_path / 'exploded').exists()


def _all_observing(observation):
  content = _transitions(1, 4)
  for transition in content:
    transition |= dict.fromkeys(
      ('observations', 'next_observations'), observation
    )
  return content


def _changed(index, **changes):
  content = _transitions(1, 4, mask=0.0)
  content[index] = {**content[index], **changes}
  return content


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    ({'a': 1}, 'a pickle of a dict of a, expected a list of transitions'),
    ([], 'a pickle of a list of 0'),
    ([1], 'transition 0: 1, expected a dict of observations'),
    ([{'observations': 1}], 'transition 0: no actions, next_observations'),
    (_changed(1, masks=0.0), 'masks is 0 at step 1 of 4'),
    (_changed(3, dones=False), 'masks is 0 at the last step, but dones'),
    (_changed(1, actions=np.zeros(3, np.float32)), r'actions: float32 \[\d\]'),
    (_changed(1, actions='left'), 'expected numbers of one shape'),
    (_changed(2, rewards=np.zeros(2)), r'rewards is float64 \[2\], expected a'),
    (_changed(0, dones=None), 'dones is None, expected a number'),
    (_all_observing({}), 'observations are a dict of nothing, expected names'),
    (_all_observing({3: np.zeros(2)}), 'observations are a dict of 3'),
    (
      _all_observing({'a/b': np.zeros(2)}),
      'a dict of a/b, expected',
    ),
    (
      _all_observing({'a': {'': np.zeros(2)}}),
      'expected names without',
    ),
  ],
)
def test_refuses_what_is_not_such_a_file(tmp_path, content, message):
  with pytest.raises(files.FileError, match=rf'demos\.pkl.*{message}'):
    _read(tmp_path, content)


def test_refuses_an_episode_that_is_longer_than_its_time_limit(tmp_path):
  with pytest.raises(files.FileError, match='4 steps, but the time limit'):
    _read(tmp_path, _transitions(1, 4), time_limit=3)


def test_a_torn_file_is_named(tmp_path):
  path = tmp_path / 'torn.pkl'
  path.write_bytes(pickle.dumps(_transitions(1, 3))[:-50])
  with pytest.raises(files.FileError, match=r'torn\.pkl'):
    list(serl_pickle.read(pathlib.Path(path)))


def test_lets_go_of_what_it_has_read(tmp_path, monkeypatch):
  content = _transitions(1, 3) + _transitions(2, 3)
  monkeypatch.setattr(
    serl_pickle.restricted_pickle, 'load', lambda path: content
  )
  found = serl_pickle.read(tmp_path / 'any.pkl')
  assert next(found).episode.length == 3
  assert content[:3] == [None, None, None]
  assert next(found).episode.length == 3
