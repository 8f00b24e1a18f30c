"""Tests for serl_pickle."""

import collections
import datetime
import gc
import os
import pathlib
import pickle
import weakref

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


def test_single_transitions_are_kept_beside_longer_stretches(tmp_path):
  first, second = _read(tmp_path, _transitions(1, 3) + _transitions(2, 1))
  assert first.episode.length == 3
  assert second.episode.length == 1
  assert second.name.endswith('transitions 3 to 3')


def test_refuses_single_transitions_alone(tmp_path):
  with pytest.raises(files.FileError, match='all of its episodes are of one'):
    _read(tmp_path, _transitions(1, 1) + _transitions(2, 1))


def test_refuses_an_attack_without_running_it(tmp_path):
  class Bomb:
    def __reduce__(self):
      return (os.mkdir, (str(tmp_path / 'exploded'),))

  for key in ('observations', 'actions', 'rewards', 'dones'):
    content = _transitions(1, 3)
    content[1][key] = [Bomb()]
    with pytest.raises(
      files.PickleFileError,
      match=rf'demos\.pkl, transition 1: {key}.*mkdir, which is refused',
    ):
      _read(tmp_path, content)
  with pytest.raises(files.PickleFileError, match='mkdir, which is refused'):
    _read(tmp_path, Bomb())
  assert not (tmp_path / 'exploded').exists()


def test_what_nobody_reads_may_be_anything_and_is_named(tmp_path, caplog):
  class Bomb:
    def __reduce__(self):
      return (os.mkdir, (str(tmp_path / 'exploded'),))

  content = _transitions(1, 3)
  content[1]['infos'] = {
    'when': datetime.datetime(2026, 1, 1),
    'counts': collections.defaultdict(list, a=[pathlib.Path('x')]),
    'more': Bomb(),
  }
  content[2]['notes'] = np.array([{}], object)
  (record,) = _read(tmp_path, content)
  assert record.episode.length == 3
  told = caplog.text
  for name in ('datetime.datetime', 'pathlib.PosixPath', 'mkdir', 'notes'):
    assert name in told
  assert not (tmp_path / 'exploded').exists()


def test_several_lists_in_a_file_are_all_read(tmp_path):
  path = tmp_path / 'demos.pkl'
  with open(path, 'wb') as file:
    for episode in (1, 2, 3):
      pickle.dump(_transitions(episode, 3), file)
  found = list(serl_pickle.read(path))
  assert [record.episode.observation['state'][0, 0] for record in found] == [
    1,
    2,
    3,
  ]
  with open(path, 'ab') as file:
    pickle.dump('the end', file)
  with pytest.raises(files.FileError, match="a pickle of 'the end', expected"):
    list(serl_pickle.read(path))


def test_a_folder_of_a_buffer_is_read_in_its_order(tmp_path):
  content = _transitions(1, 5) + _transitions(2, 1) + _transitions(3, 4)
  # By their names alone, 1000 comes before 200.
  for number, part in ((200, content[:3]), (1000, content[3:])):
    path = tmp_path / f'transitions_{number}.pkl'
    path.write_bytes(pickle.dumps(part))
  found = list(serl_pickle.read(tmp_path))
  assert [record.episode.length for record in found] == [5, 1, 4]
  assert found[0].name.endswith(
    'transitions_200.pkl, transitions 0 to 1 of transitions_1000.pkl'
  )


def test_what_hil_serl_adds_is_read_or_said_to_be_recomputed(tmp_path, caplog):
  content = _transitions(1, 4)
  for t, transition in enumerate(content):
    transition['grasp_penalty'] = -0.02
    transition['infos'] = (
      {'intervene_action': np.zeros(2)} if t in (1, 2) else {}
    )
  (record,) = _read(tmp_path, content)
  assert record.episode.extras['intervened'].tolist() == [0, 1, 1, 0]
  assert record.metadata['hil']
  assert 'HybridConfig.penalty' in caplog.text
  for transition in content:
    del transition['infos']
  (record,) = _read(tmp_path, content)
  assert not record.episode.extras


@pytest.mark.parametrize('flat', [True, False])
def test_files_of_two_arms_are_named_as_such(tmp_path, flat):
  content = _transitions(1, 3)
  for transition in content:
    for key in ('observations', 'next_observations'):
      parts = {f'{side}/tcp_pose': np.zeros(7) for side in ('left', 'right')}
      transition[key] = parts if flat else {'state': parts}
  with pytest.raises(files.FileError, match='a file of two arms'):
    _read(tmp_path, content)


def test_a_classifier_reads_observations_alone(tmp_path):
  content = _transitions(1, 3)
  content[0]['actions'] = np.array([np.nan, 3.0])
  content[1]['actions'] = 'left'
  del content[2]['actions'], content[2]['rewards'], content[2]['masks']
  (record,) = _read(tmp_path, content, success=False)
  assert record.episode.action.tolist() == [[0]] * 3
  assert record.episode.extras['success'].tolist() == [0] * 3


def test_containers_that_share_or_hold_themselves_end_no_reader(tmp_path):
  held = np.zeros(2)
  for _ in range(40):
    held = (held, held)
  circle = {}
  circle['circle'] = circle
  deep = np.zeros(2)
  for _ in range(100):
    deep = {'a': deep}
  for observation in (held, {'a': held}, circle, deep):
    content = _all_observing(observation)
    with pytest.raises(files.FileError, match=r'demos\.pkl'):
      _read(tmp_path, content)


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
  observed = weakref.ref(content[1]['observations']['front'])
  lists = [content[:]]
  content.clear()
  monkeypatch.setattr(
    serl_pickle.restricted_pickle, 'load_each', lambda path: [lists.pop()]
  )
  found = serl_pickle.read(tmp_path / 'any.pkl')
  assert next(found).episode.length == 3
  gc.collect()
  assert observed() is None
  assert next(found).episode.length == 3
