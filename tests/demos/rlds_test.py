"""Tests for rlds, read back and written by tensorflow-datasets alone."""

import logging

import numpy as np
import pytest
import tree

from serl import specs
from serl.demos import datasets
from serl.demos import files
from serl.demos import records
from serl.testing import fakes


@pytest.fixture(scope='module')
def tfds():
  # Not at the head: other tests need rlax to be there before TensorFlow is.
  return pytest.importorskip(
    'tensorflow_datasets', reason='the extra [rlds] is not installed'
  )


@pytest.fixture(scope='module')
def rlds(tfds):
  from serl.demos import rlds

  return rlds


def _spec():
  return fakes.make_image_spec()


def _records(count=2):
  found = []
  for i in range(count):
    episode = fakes.make_episode(_spec(), length=3 + i, seed=i)
    episode.discount[-1] = i % 2
    extras = {'success': np.arange(3 + i, dtype=np.uint8) % 2}
    episode = episode._replace(extras=extras)
    found.append(records.Record(f'number {i}', episode, {'number': i}))
  return found


def test_plain_tensorflow_datasets_reads_what_is_written(rlds, tfds, tmp_path):
  expected = _records()
  rlds.write(tmp_path / 'data', expected, _spec())
  builder = tfds.builder_from_directory(tmp_path / 'data')
  assert builder.info.splits['train'].num_examples == 2
  for record, found in zip(
    expected, tfds.as_numpy(builder.as_dataset(split='train')), strict=True
  ):
    episode = record.episode
    steps = list(found['steps'])
    assert len(steps) == episode.length + 1
    for t, step in enumerate(steps):
      for name in ('image', 'state'):
        tree.map_structure(
          np.testing.assert_array_equal,
          step['observation'][name],
          tree.map_structure(lambda x, t=t: x[t], episode.observation[name]),
        )
      assert step['is_first'] == (t == 0)
      assert step['is_last'] == (t == episode.length)
      assert step['is_terminal'] == (
        t == episode.length and episode.discount[-1] == 0
      )
    for t, step in enumerate(steps[:-1]):
      np.testing.assert_array_equal(step['action'], episode.action[t])
      assert step['reward'] == episode.reward[t]
      assert step['discount'] == episode.discount[t]


def test_what_is_written_comes_back_with_all_that_we_keep(rlds, tmp_path):
  expected = _records()
  rlds.write(tmp_path / 'data', expected, _spec())
  dataset = datasets.read(tmp_path / 'data')
  assert dataset.kind == datasets.RLDS
  for part in ('observations', 'actions'):
    assert specs.to_dict(getattr(dataset.spec, part)) == specs.to_dict(
      getattr(_spec(), part)
    )
  for a, b in zip(dataset.records, expected, strict=True):
    assert a.metadata == b.metadata
    tree.assert_same_structure(a.episode, b.episode)
    for x, y in zip(tree.flatten(a.episode), tree.flatten(b.episode)):
      np.testing.assert_array_equal(x, y)
      assert x.dtype == y.dtype


def _write_foreign(tfds, folder, steps, count=1, metadata=None, **features):
  """Writes a data set as another project would."""
  kind, value = metadata or (None, None)
  folder.mkdir(parents=True)
  info = tfds.core.DatasetInfo(
    builder=tfds.core.DatasetIdentity(
      name='other',
      version=tfds.core.Version('2.0.0'),
      data_dir=str(folder),
      module_name='',
    ),
    features=tfds.features.FeaturesDict(
      {
        'steps': tfds.features.Dataset(features),
        **({'metadata': kind} if metadata else {}),
      }
    ),
  )
  writer = tfds.core.SequentialWriter(info, max_examples_per_shard=1)
  writer.initialize_splits(['train'])
  example = {'steps': steps, **({'metadata': value} if metadata else {})}
  writer.add_examples({'train': [example] * count})
  writer.close_all()


def _foreign(tfds, length=4):
  features = {
    'observation': tfds.features.Tensor(shape=(2,), dtype=np.float64),
    'action': tfds.features.Tensor(shape=(2,), dtype=np.float64),
    'reward': tfds.features.Scalar(np.float64),
    'is_first': tfds.features.Scalar(np.bool_),
    'is_last': tfds.features.Scalar(np.bool_),
    'is_terminal': tfds.features.Scalar(np.bool_),
    'language': tfds.features.Text(),
  }
  steps = [
    {
      'observation': np.array([t, 0.5]),
      'action': np.array([t / 10, 0.0]),
      'reward': float(t),
      'is_first': t == 0,
      'is_last': t == length,
      'is_terminal': t == length,
      'language': 'lift',
    }
    for t in range(length + 1)
  ]
  return steps, features


def test_reads_the_data_of_others(rlds, tfds, tmp_path, caplog):
  steps, features = _foreign(tfds)
  _write_foreign(tfds, tmp_path / 'other' / '2.0.0', steps, **features)
  with caplog.at_level(logging.WARNING, 'absl'):
    (record,) = datasets.read(tmp_path / 'other').records
  episode = record.episode
  np.testing.assert_array_equal(episode.observation[:, 0], [0, 1, 2, 3, 4])
  np.testing.assert_allclose(episode.action[:, 0], [0, 0.1, 0.2, 0.3])
  assert episode.action.dtype == np.float32
  np.testing.assert_array_equal(episode.reward, [0, 1, 2, 3])
  np.testing.assert_array_equal(episode.discount, [1, 1, 1, 0])
  assert 'language' in caplog.text


def test_refuses_actions_of_another_range(rlds, tmp_path):
  narrow = specs.BoundedArray((2,), np.float32, -0.5, 0.5, 'action')
  found = [
    record._replace(
      episode=record.episode._replace(action=record.episode.action / 2)
    )
    for record in _records()
  ]
  rlds.write(tmp_path / 'data', found, _spec()._replace(actions=narrow))
  with pytest.raises(files.FileError, match='its actions are in -0'):
    datasets.read(tmp_path / 'data', _spec())


def test_refuses_an_episode_of_one_step(rlds, tfds, tmp_path):
  steps, features = _foreign(tfds, length=1)
  _write_foreign(tfds, tmp_path / 'other', steps, **features)
  with pytest.raises(files.FileError, match='train episode 0: 2 steps with'):
    list(rlds.read(tmp_path / 'other'))


def test_single_steps_come_back_if_they_are_snapshots(rlds, tmp_path):
  episode = fakes.make_episode(_spec(), length=1)
  shot = episode._replace(extras={'snapshot': np.ones(1, np.uint8)})
  found = [records.Record('a', shot, {'n': 1})]
  rlds.write(tmp_path / 'shots', found, _spec())
  (back,) = rlds.read(tmp_path / 'shots')
  assert back.episode.length == 1 and back.metadata == {'n': 1}
  with pytest.raises(files.FileError, match='a: an episode of one step'):
    rlds.write(tmp_path / 'no', [records.Record('a', episode)], _spec())
  assert not (tmp_path / 'no').exists()


def test_what_others_keep_as_metadata_is_theirs(rlds, tfds, tmp_path):
  steps, features = _foreign(tfds)
  for kind, value in (
    (tfds.features.Text(), 'no JSON'),
    (tfds.features.Scalar(np.int64), 7),
    (tfds.features.FeaturesDict({'a': tfds.features.Text()}), {'a': 'b'}),
  ):
    folder = tmp_path / type(kind).__name__
    _write_foreign(tfds, folder, steps, metadata=(kind, value), **features)
    (record,) = rlds.read(folder)
    assert record.metadata == {}


def test_refuses_what_is_no_rlds(rlds, tfds, tmp_path):
  steps, features = _foreign(tfds)
  for step in steps:
    del step['action']
  del features['action']
  _write_foreign(tfds, tmp_path / 'other', steps, **features)
  with pytest.raises(files.FileError, match='no action among'):
    list(rlds.read(tmp_path / 'other'))
  with pytest.raises(files.FileError, match='0 data sets with a features'):
    list(rlds.read(tmp_path / 'nothing'))


@pytest.mark.parametrize('kept', [0, 100, -50])
def test_a_torn_file_is_refused(rlds, tmp_path, kept):
  rlds.write(tmp_path / 'data', _records(), _spec())
  (path,) = (tmp_path / 'data').glob('*.tfrecord*')
  path.write_bytes(path.read_bytes()[:kept])
  with pytest.raises(files.FileError, match='data: torn or damaged after'):
    list(rlds.read(tmp_path / 'data'))


def test_a_missing_file_is_refused(rlds, tmp_path):
  rlds.write(tmp_path / 'data', _records(), _spec())
  (path,) = (tmp_path / 'data').glob('*.tfrecord*')
  path.unlink()
  with pytest.raises(files.FileError, match='data'):
    list(rlds.read(tmp_path / 'data'))


def test_episodes_with_other_extras_are_refused(rlds, tmp_path):
  first, second = _records()
  second = second._replace(episode=second.episode._replace(extras={}))
  with pytest.raises(ValueError, match=r'number 1: other extras[^$]*success'):
    rlds.write(tmp_path / 'data', [first, second], _spec())
  assert list(tmp_path.iterdir()) == []


def test_the_rate_is_kept(rlds, tfds, tmp_path):
  found = [r._replace(metadata={files.RATE: 50.0}) for r in _records()]
  rlds.write(tmp_path / 'data', found, _spec())
  builder = tfds.builder_from_directory(tmp_path / 'data')
  assert builder.info.metadata[files.RATE] == 50
  for record in rlds.read(tmp_path / 'data'):
    assert record.metadata == {files.RATE: 50}
  other = found[1]._replace(metadata={files.RATE: 10.0})
  with pytest.raises(files.FileError, match='number 1: recorded at 10 steps'):
    rlds.write(tmp_path / 'mixed', [found[0], other], _spec())
  assert not (tmp_path / 'mixed').exists()


def test_never_overwrites(rlds, tmp_path):
  (tmp_path / 'data').mkdir()
  with pytest.raises(FileExistsError, match='data exists'):
    rlds.write(tmp_path / 'data', _records(), _spec())
