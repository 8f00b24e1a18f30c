"""Tests for rlds, read back and written by tensorflow-datasets alone."""

import itertools
import json
import logging
import os
import sys

import numpy as np
import pytest
import tree

from serl import specs
from serl.demos import datasets
from serl.demos import fields
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


def _write_foreign(
  tfds, folder, steps, count=1, metadata=None, splits=('train',), **features
):
  """Writes a data set as another project would, a file for each episode."""
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
  writer.initialize_splits(list(splits))
  example = {'steps': steps, **({'metadata': value} if metadata else {})}
  for split in splits:
    writer.add_examples({split: [example] * count})
  writer.close_all()


def _foreign(tfds, length=4, acted=False):
  """Returns steps and features; whether the last step is an action."""
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
      'action': np.array([t / 10, 0.0]) * (acted or t < length),
      'reward': float(t) * (acted or t < length),
      'is_first': t == 0,
      'is_last': t == length,
      'is_terminal': t == length,
      'language': 'lift',
    }
    for t in range(length + 1)
  ]
  return steps, features


@pytest.mark.parametrize(
  ('acted', 'last_step', 'said', 'steps'),
  [
    (False, None, 'as SERL logs RLDS', 4),
    (True, None, 'as Open-X publishes RLDS', 5),
    (True, 'observed', 'as SERL logs RLDS', 4),
    (False, 'acted', 'as Open-X publishes RLDS', 5),
  ],
)
def test_reads_the_data_of_others(
  rlds, tfds, tmp_path, caplog, acted, last_step, said, steps
):
  rows, features = _foreign(tfds, acted=acted)
  _write_foreign(tfds, tmp_path / 'other' / '2.0.0', rows, **features)
  with caplog.at_level(logging.WARNING, 'absl'):
    (record,) = datasets.read(tmp_path / 'other', last_step=last_step).records
  episode = record.episode
  at = np.minimum(np.arange(steps + 1), 4)
  np.testing.assert_array_equal(episode.observation[:, 0], at)
  done = np.arange(steps) * (acted | (np.arange(steps) < 4))
  np.testing.assert_allclose(episode.action[:, 0], done / 10)
  assert episode.action.dtype == np.float32
  np.testing.assert_array_equal(episode.reward, done)
  np.testing.assert_array_equal(episode.discount, [1] * (steps - 1) + [0])
  assert 'language; left out' in caplog.text
  assert said in caplog.text


def _put_together(parts):
  """Returns the steps of several episodes in a row, without any is_first."""
  steps = enumerate(itertools.chain(*parts))
  return [{**step, 'is_first': t == 0} for t, step in steps]


@pytest.mark.parametrize('acted', [False, True])
@pytest.mark.parametrize('left', ['is_last', 'is_terminal', 'is_first'])
def test_episodes_in_a_row_are_split(rlds, tfds, tmp_path, caplog, acted, left):
  parts = [_foreign(tfds, length, acted)[0] for length in (4, 2)]
  rows, features = _put_together(parts), _foreign(tfds)[1]
  if left == 'is_first':
    rows = list(itertools.chain(*parts))
  for name in {'is_last', 'is_terminal'} - {left}:
    rows = [{**step, name: False} for step in rows]
  _write_foreign(tfds, tmp_path / 'other', rows, count=2, **features)
  with caplog.at_level(logging.WARNING, 'absl'):
    found = list(rlds.read(tmp_path / 'other'))
  lengths = [4 + acted, 2 + acted]
  assert [r.episode.length for r in found] == lengths * 2
  assert [r.episode.discount[-1] for r in found] == [left != 'is_terminal'] * 4
  assert found[1].name.endswith('train episode 0, steps 5 to 7')
  assert 'of 2 episodes 2 were split' in caplog.text


def test_what_serls_older_logger_flags_is_no_end(rlds, tfds, tmp_path, caplog):
  rows, features = _foreign(tfds)
  rows = [{**step, 'is_last': t > 0} for t, step in enumerate(rows)]
  _write_foreign(tfds, tmp_path / 'other', rows, **features)
  with caplog.at_level(logging.WARNING, 'absl'):
    (record,) = rlds.read(tmp_path / 'other')
  assert record.episode.length == 4
  assert 'split' not in caplog.text


def test_flags_and_the_discount_need_not_be_there(rlds, tfds, tmp_path, caplog):
  rows, features = _foreign(tfds, acted=True)
  kept = {'observation', 'action', 'reward'}
  features = {name: features[name] for name in kept}
  rows = [{name: step[name] for name in kept} for step in rows]
  _write_foreign(tfds, tmp_path / 'other', rows, **features)
  with caplog.at_level(logging.WARNING, 'absl'):
    (record,) = rlds.read(tmp_path / 'other')
  assert record.episode.discount.tolist() == [1] * 5
  assert 'every end of an episode is taken for a time limit' in caplog.text


def test_numbers_may_be_vectors_of_one(rlds, tfds, tmp_path):
  rows, features = _foreign(tfds, acted=True)
  names = ('reward', 'discount', 'is_last', 'is_terminal')
  rows = [{**step, 'discount': 0.5} for step in rows]
  for name in names:
    dtype = np.bool_ if name.startswith('is') else np.float64
    features[name] = tfds.features.Tensor(shape=(1,), dtype=dtype)
    rows = [{**step, name: np.array([step[name]], dtype)} for step in rows]
  _write_foreign(tfds, tmp_path / 'other', rows, **features)
  (record,) = datasets.read(tmp_path / 'other').records
  assert record.episode.reward.tolist() == [0, 1, 2, 3, 4]
  assert record.episode.discount.tolist() == [0.5] * 4 + [0]


def test_all_splits_and_files_are_read(rlds, tfds, tmp_path):
  rows, features = _foreign(tfds)
  splits = ('train', 'val')
  _write_foreign(
    tfds, tmp_path / 'other', rows, count=3, splits=splits, **features
  )
  names = [
    record.name.split(', ')[1] for record in rlds.read(tmp_path / 'other')
  ]
  assert names == [f'{s} episode {i}' for s in splits for i in range(3)]


def _of_fields(tfds):
  """Returns steps and features with everything that others observe."""
  rows, features = _foreign(tfds, acted=True)
  tensor = tfds.features.Tensor
  features['observation'] = tfds.features.FeaturesDict(
    {
      'front': tfds.features.Image(shape=(None, None, 3)),
      'state': {'arm': tensor(shape=(2,), dtype=np.float32)},
      'instruction': tfds.features.Text(),
      'words': tfds.features.Sequence(tfds.features.Text()),
      'points': tfds.features.Sequence(tensor(shape=(3,), dtype=np.float32)),
      'objects': tfds.features.Sequence({'name': tfds.features.Text()}),
    }
  )
  features['action'] = tfds.features.FeaturesDict(
    {
      'arm': tensor(shape=(3,), dtype=np.float32),
      'close': tfds.features.Scalar(np.bool_),
      'why': tfds.features.Text(),
    }
  )
  for t, step in enumerate(rows):
    step['observation'] = {
      'front': np.full((4 + (t == 2), 4, 3), t, np.uint8),
      'state': {'arm': np.float32([t, 0])},
      'instruction': 'lift',
      'words': ['lift', 'it'],
      'points': np.zeros((t, 3), np.float32),
      'objects': [{'name': 'cube'}],
    }
    step['action'] = {
      'arm': np.float32([0.1, 0.2, 0.3]),
      'close': t > 2,
      'why': 'x',
    }
  return rows, features


def test_fields_that_are_no_numbers_are_named(rlds, tfds, tmp_path):
  rows, features = _of_fields(tfds)
  _write_foreign(tfds, tmp_path / 'other', rows, **features)
  with pytest.raises(files.FileError) as error:
    list(rlds.read(tmp_path / 'other'))
  told = str(error.value)
  for expected in (
    'observation/instruction is text, expected numbers or an image: leave it '
    'out, --drop=observation/instruction',
    'observation/words is text [None]',
    'observation/objects is a sequence of name',
    'action/why is text',
    'the action is a dict of action/arm (float32 [3]), action/close (bool []), '
    'action/why (text), expected one vector: name its parts in their order, '
    '--keep=action/arm,action/close',
  ):
    assert expected in told


_UNUSABLE = ('instruction', 'words', 'objects')


@pytest.mark.parametrize(
  ('dropped', 'message'),
  [
    (
      ('points',),
      r'front: uint8 \[5, 4, 3\] at step 2, uint8 \[4, 4, 3\] at st',
    ),
    (
      ('front',),
      r'points: float32 \[1, 3\] at step 1, float32 \[0, 3\] at ste',
    ),
  ],
)
def test_fields_of_varying_size_are_named(
  rlds, tfds, tmp_path, dropped, message
):
  rows, features = _of_fields(tfds)
  _write_foreign(tfds, tmp_path / 'other', rows, **features)
  choice = fields.Choice(('action/arm',), (*_UNUSABLE, *dropped))
  with pytest.raises(
    files.FileError, match=f'episode 0, observation/{message}'
  ):
    list(rlds.read(tmp_path / 'other', choice=choice))


def test_fields_are_kept_and_dropped(rlds, tfds, tmp_path):
  rows, features = _of_fields(tfds)
  _write_foreign(tfds, tmp_path / 'other', rows, **features)
  read = lambda keep, drop=(): (
    next(
      datasets.read(
        tmp_path / 'other', choice=fields.Choice(keep, drop)
      ).records
    ).episode
  )
  episode = read(('state', 'action/close', 'action/arm'))
  assert list(episode.observation) == ['state']
  np.testing.assert_array_equal(episode.observation['state']['arm'][3], [3, 0])
  np.testing.assert_allclose(episode.action[3], [1, 0.1, 0.2, 0.3])
  unusable = (*_UNUSABLE, 'front', 'points', 'language')
  episode = read((), (*unusable, 'action/why', 'action/close'))
  np.testing.assert_allclose(episode.action[3], [0.1, 0.2, 0.3])
  with pytest.raises(files.FileError, match="no field 'wrist' to keep or to d"):
    read(('wrist',))


@pytest.mark.parametrize(
  ('extras', 'expected'),
  [
    ({'note': 'x', 'success': np.uint8(1)}, {'success'}),
    ({'note': 'x'}, set()),
    ('x', set()),
    (np.uint8(1), set()),
  ],
)
def test_extras_of_others_are_read_if_they_are_numbers(
  rlds, tfds, tmp_path, extras, expected
):
  rows, features = _foreign(tfds)
  kinds = {'note': tfds.features.Text(), 'success': np.uint8}
  if isinstance(extras, dict):
    features['extras'] = {name: kinds[name] for name in extras}
  else:
    features['extras'] = kinds['note' if isinstance(extras, str) else 'success']
  rows = [{**step, 'extras': extras} for step in rows]
  _write_foreign(tfds, tmp_path / 'other', rows, **features)
  (record,) = datasets.read(tmp_path / 'other').records
  assert record.episode.extras.keys() == expected


def test_a_size_that_is_only_not_declared_is_read(rlds, tfds, tmp_path):
  rows, features = _of_fields(tfds)
  for step in rows:
    step['observation']['front'] = np.zeros((4, 5, 3), np.uint8)
  _write_foreign(tfds, tmp_path / 'other', rows, **features)
  choice = fields.Choice(('front', 'action/arm'))
  (record,) = datasets.read(tmp_path / 'other', choice=choice).records
  assert record.episode.observation['front'].shape == (6, 4, 5, 3)


def test_our_own_fields_are_chosen_too(rlds, tmp_path):
  rlds.write(tmp_path / 'data', _records(), _spec())
  choice = fields.Choice(drop=('image',))
  dataset = datasets.read(tmp_path / 'data', choice=choice)
  assert specs.flatten(dataset.spec.observations).keys() == {'state/tcp_pos'}
  found = list(dataset.records)
  assert list(found[0].episode.observation) == ['state']
  assert 'success' in found[0].episode.extras


def test_no_code_that_a_data_set_names_is_imported(
  rlds, tfds, tmp_path, monkeypatch
):
  rows, features = _foreign(tfds)
  name = 'pythonClassName'
  for folder, key in (('proto', name), ('legacy', 'type')):
    _write_foreign(tfds, tmp_path / folder, rows, **features)
    described = tmp_path / folder / 'features.json'
    told = described.read_text()
    cls = 'tensorflow_datasets.core.features.text_feature.Text'
    assert cls in told
    if key == 'type':
      inner = '{"type": "bomb.Feature", "content": {}}'
      told = json.dumps({**json.loads(told), 'content': inner})
    else:
      told = told.replace(cls, 'bomb.Feature')
    described.write_text(told)
  (tmp_path / 'bomb.py').write_text('raise SystemExit("boom")')
  monkeypatch.syspath_prepend(tmp_path)
  for folder in ('proto', 'legacy'):
    with pytest.raises(files.FileError, match=r'of the class bomb\.Feature'):
      list(rlds.read(tmp_path / folder))
  assert 'bomb' not in sys.modules


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


def test_an_episode_of_one_step_is_left_out(rlds, tfds, tmp_path, caplog):
  parts = [_foreign(tfds, length)[0] for length in (4, 1, 2, 0)]
  rows, features = list(itertools.chain(*parts)), _foreign(tfds)[1]
  _write_foreign(tfds, tmp_path / 'other', rows, **features)
  with caplog.at_level(logging.WARNING, 'absl'):
    found = list(rlds.read(tmp_path / 'other'))
  assert [record.episode.length for record in found] == [4, 2]
  assert '2 of fewer than 2 actions were left out' in caplog.text


@pytest.mark.parametrize('length', [0, 1])
def test_refuses_nothing_but_episodes_of_one_step(rlds, tfds, tmp_path, length):
  steps, features = _foreign(tfds, length)
  _write_foreign(tfds, tmp_path / 'other', steps, count=2, **features)
  with pytest.raises(files.FileError, match='no episode of 2 actions or more'):
    list(rlds.read(tmp_path / 'other'))
  _write_foreign(tfds, tmp_path / 'empty', [], **features)
  with pytest.raises(files.FileError, match='no episode of 2 actions or more'):
    list(rlds.read(tmp_path / 'empty'))


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


@pytest.mark.parametrize('name', ['features.json', 'dataset_info.json'])
@pytest.mark.parametrize(
  'content', ['', '{', '[]', '3', '{"name": 3}', '[' * 9999]
)
def test_descriptions_that_are_none_are_refused(rlds, tmp_path, name, content):
  rlds.write(tmp_path / 'data', _records(), _spec())
  (tmp_path / 'data' / name).write_text(content)
  with pytest.raises(files.FileError, match='data: torn or damaged after 0 ep'):
    list(rlds.read(tmp_path / 'data'))


def test_no_pipe_is_waited_for(rlds, tmp_path):
  rlds.write(tmp_path / 'data', _records(), _spec())
  (path,) = (tmp_path / 'data').glob('*.tfrecord*')
  path.unlink()
  os.mkfifo(path)
  with pytest.raises(files.FileError, match='no regular file, expected one'):
    list(rlds.read(tmp_path / 'data'))


@pytest.mark.parametrize('name', ['features.json', 'metadata.json'])
def test_no_pipe_is_waited_for_before(rlds, tmp_path, name):
  rlds.write(tmp_path / 'data', _records(), _spec())
  (tmp_path / 'data' / name).unlink()
  os.mkfifo(tmp_path / 'data' / name)
  with pytest.raises(files.FileError):
    datasets.read(tmp_path / 'data')


@pytest.mark.parametrize('content', ['', '[]', '{"serl_spec": {}}'])
def test_a_spec_that_is_none_is_refused(rlds, tmp_path, content):
  rlds.write(tmp_path / 'data', _records(), _spec())
  (tmp_path / 'data' / 'metadata.json').write_text(content)
  with pytest.raises(files.FileError, match=r'metadata\.json: torn or damaged'):
    datasets.read(tmp_path / 'data')


def test_nothing_is_written_of_nothing(rlds, tmp_path):
  with pytest.raises(ValueError, match='data: no episode to write'):
    rlds.write(tmp_path / 'data', [], _spec())
  assert not (tmp_path / 'data').exists()


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
