"""Tests for datasets."""

import gzip
import os
import pickle

import numpy as np
import pytest
import tree

from serl import specs
from serl.demos import datasets
from serl.demos import files
from serl.demos import recording
from serl.demos import records
from serl.demos import transitions
from serl.testing import fakes
from tests.utils import regular_file_test


def _write(folder, count=3):
  spec = fakes.make_image_spec()
  for i in range(count):
    episode = fakes.make_episode(spec, length=4 + i, seed=i)
    files.write(folder / f'{i}.npz', episode, spec, {'number': i})
  return spec


def _write_pickle(path, size=1.0):
  """Two episodes for `fakes.make_state_spec`: SERL's state, flattened."""
  observe = lambda e, t: {'state': np.array([[e, t, 0, 1]], np.float32) / 10}
  steps = [
    {
      'observations': observe(e, t),
      'actions': np.full(2, size, np.float32),
      'next_observations': observe(e, t + 1),
      'rewards': 1.0,
      'masks': float(t < 4),
      'dones': t == 4,
    }
    for e in range(2)
    for t in range(5)
  ]
  path.write_bytes(pickle.dumps(steps))


def test_a_folder_of_episodes_comes_with_its_spec(tmp_path):
  spec = _write(tmp_path)
  dataset = datasets.read(tmp_path)
  assert dataset.kind == datasets.EPISODES
  assert specs.to_dict(dataset.spec.observations) == specs.to_dict(
    spec.observations
  )
  assert specs.to_dict(dataset.spec.actions) == specs.to_dict(spec.actions)
  assert [
    (record.name, record.episode.length, record.metadata)
    for record in dataset.records
  ] == [(str(tmp_path / f'{i}.npz'), 4 + i, {'number': i}) for i in range(3)]


def test_every_damaged_file_is_named(tmp_path):
  _write(tmp_path, 4)
  for i in (1, 3):
    whole = (tmp_path / f'{i}.npz').read_bytes()
    (tmp_path / f'{i}.npz').write_bytes(whole[:-40])
  found = datasets.read(tmp_path).records
  assert [next(found).episode.length, next(found).episode.length] == [4, 6]
  with pytest.raises(files.FileError, match='2 of 4 episodes') as error:
    next(found)
  assert '1.npz: torn' in str(error.value)
  assert '3.npz: torn' in str(error.value)


def test_a_pickle_is_made_to_fit_the_spec(tmp_path):
  _write_pickle(tmp_path / 'demos.pkl')
  spec = fakes.make_state_spec()
  dataset = datasets.read(tmp_path / 'demos.pkl', spec, time_limit=5)
  assert dataset.kind == datasets.SERL_PICKLE
  first, second = dataset.records
  np.testing.assert_allclose(
    second.episode.observation['gripper'][:, 0], np.full(6, 0.1)
  )
  np.testing.assert_allclose(
    second.episode.observation['tcp_pos'][3], [0.3, 0, 0.1]
  )
  assert first.episode.discount[-1] == 1
  assert datasets.read(tmp_path / 'demos.pkl').spec.observations.keys() == {
    'state'
  }


def test_demonstrations_may_be_a_pickle(tmp_path):
  _write_pickle(tmp_path / 'demos.pkl')
  loaded = recording.load(tmp_path / 'demos.pkl', fakes.make_state_spec())
  assert [episode.length for episode in loaded] == [5, 5]


def test_a_pickle_of_large_actions_is_refused(tmp_path):
  _write_pickle(tmp_path / 'demos.pkl', size=2.0)
  with pytest.raises(files.FileError, match=r'demos\.pkl.*\n.*scale the'):
    datasets.read(tmp_path / 'demos.pkl').records.__next__()


def test_what_is_written_comes_back(tmp_path):
  _write_pickle(tmp_path / 'demos.pkl')
  dataset = datasets.read(tmp_path / 'demos.pkl', fakes.make_state_spec())
  datasets.write(tmp_path / 'demos', dataset.records, dataset.spec)
  again = list(datasets.read(tmp_path / 'demos', dataset.spec).records)
  expected = datasets.read(tmp_path / 'demos.pkl', dataset.spec).records
  for a, b in zip(again, expected, strict=True):
    tree.map_structure(np.testing.assert_array_equal, a.episode, b.episode)
    assert a.metadata == b.metadata


def test_nothing_is_written_of_data_that_fail(tmp_path):
  def found():
    yield records.Record('a', fakes.make_episode(fakes.make_state_spec()))
    raise files.FileError('torn')

  with pytest.raises(files.FileError, match='torn'):
    datasets.write(tmp_path / 'demos', found(), fakes.make_state_spec())
  assert list(tmp_path.iterdir()) == []


def test_a_time_limit_is_of_a_pickle_only(tmp_path):
  _write(tmp_path)
  with pytest.raises(ValueError, match='but this is episodes'):
    datasets.read(tmp_path, time_limit=100)


@pytest.mark.parametrize('look', [datasets.read, datasets.check])
def test_refuses_nothing(look, tmp_path):
  with pytest.raises(files.FileError, match='no episode in it'):
    look(tmp_path)


def test_a_compressed_file_is_named_as_such(tmp_path):
  path = tmp_path / 'demos.pkl'
  path.write_bytes(gzip.compress(b'anything'))
  with pytest.raises(files.FileError, match=r'demos.pkl: compressed by gzip'):
    datasets.check(path)


def test_episodes_beside_pickles_are_refused(tmp_path):
  _write(tmp_path)
  _write_pickle(tmp_path / 'transitions_1000.pkl')
  with pytest.raises(files.FileError, match=r'3 episodes .*beside 1 pickles'):
    datasets.check(tmp_path)
  with pytest.raises(files.FileError, match='expected one format'):
    datasets.read(tmp_path)


def test_a_check_looks_at_the_beginning(tmp_path):
  _write(tmp_path)
  datasets.check(tmp_path)
  datasets.check(tmp_path / '0.npz')
  pickles = tmp_path / 'pickles'
  pickles.mkdir()
  _write_pickle(pickles / 'demos.pkl')
  datasets.check(pickles / 'demos.pkl')
  (pickles / 'none.pkl').touch()
  with pytest.raises(files.FileError, match=r'none.pkl: empty, expected SERL'):
    datasets.check(pickles / 'none.pkl')
  (tmp_path / '0.npz').write_text('thesis')
  with pytest.raises(files.FileError, match=r"0.npz: starts with b'th'"):
    datasets.check(tmp_path)


@pytest.mark.parametrize(
  ('name', 'content', 'named'),
  [
    ('demo.hdf5', b'\x89HDF\r\n\x1a\n', 'an HDF5 file, as robomimic'),
    ('demo', b'\x89HDF\r\n\x1a\n', 'an HDF5 file, as robomimic'),
    ('demo.pkl', b'\x89HDF\r\n\x1a\n', 'an HDF5 file, as robomimic'),
    ('a.parquet', b'PAR1', 'a Parquet file, as LeRobot'),
    ('a.npz', b'PAR1', 'a Parquet file, as LeRobot'),
    ('a.pkl.gz', b'\x1f\x8b', 'compressed by gzip'),
    ('a-train.tfrecord-00000', b'M', 'records of RLDS'),
    ('a.pt', b'PK', 'a file of PyTorch'),
    ('a/meta/info.json', b'{}', 'a LeRobotDataset'),
    ('a/demo.hdf5', b'', 'an HDF5 file, as robomimic'),
    ('a/data/main_data.hdf5', b'', 'a data set of Minari'),
    ('a/.zgroup', b'{}', 'a zarr store'),
    ('a/demo_buffer/transitions_1.pkl', b'', 'expected its demo_buffer'),
    ('a/a-train.tfrecord-00000', b'', 'without the features.json'),
  ],
)
@pytest.mark.parametrize('look', [datasets.read, datasets.check])
def test_formats_of_others_are_named(tmp_path, name, content, named, look):
  path = tmp_path / name
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(content)
  with pytest.raises(files.FileError, match=named):
    look(tmp_path / name.split('/')[0])


@pytest.mark.parametrize('kind', regular_file_test.IRREGULAR)
@pytest.mark.parametrize('name', ['a.npz', 'a.pkl', 'a'])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, kind, name):
  path = tmp_path / 'folder' / name
  path.parent.mkdir()
  regular_file_test.make_irregular(kind, str(path))
  for at in (path, path.parent):
    with pytest.raises((files.FileError, OSError), match='expected'):
      list(datasets.read(at).records)


def test_a_pipe_in_a_folder_of_rlds_is_refused_and_not_waited_for(tmp_path):
  os.mkfifo(tmp_path / 'features.json')
  with pytest.raises(files.FileError, match='a pipe'):
    datasets.read(tmp_path)


def test_a_pipe_among_episodes_is_named_at_the_end(tmp_path):
  _write(tmp_path)
  os.mkfifo(tmp_path / '7.npz')
  (tmp_path / '8.npz').symlink_to('nowhere')
  (tmp_path / '9.npz').mkdir()
  found = datasets.read(tmp_path).records
  with pytest.raises(files.FileError) as error:
    list(found)
  for named in ('a pipe', 'a link to nowhere', 'a folder'):
    assert named in str(error.value)


def test_actions_beyond_their_bounds_are_clipped_and_counted(tmp_path):
  _write_pickle(tmp_path / 'demos.pkl', size=1.3)
  for record in datasets.read(tmp_path / 'demos.pkl').records:
    assert np.abs(record.episode.action).max() == 1
    assert record.metadata['clipped']['action']['steps'] == 5


def test_a_classifiers_data_may_have_any_actions(tmp_path):
  _write_pickle(tmp_path / 'demos.pkl', size=np.nan)
  (first, *_) = transitions.load(tmp_path / 'demos.pkl', success=True)
  assert not first.action.any()
