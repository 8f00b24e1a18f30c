"""Tests for lerobot, read back by pyarrow and pillow alone."""

import io
import json

import numpy as np
from PIL import Image
import pytest

parquet = pytest.importorskip(
  'pyarrow.parquet', reason='the extra [lerobot] is not installed'
)

from serl import specs
from serl.demos import files
from serl.demos import lerobot
from serl.demos import records
from serl.testing import fakes


def _records(spec, lengths=(3, 2)):
  found = []
  for i, length in enumerate(lengths):
    episode = fakes.make_episode(spec, length=length, seed=i)
    episode.discount[-1] = i  # the first terminates, the second does not
    extras = {'success': np.eye(1, length, length - 1, dtype=np.uint8)[0]}
    episode = episode._replace(extras=extras)
    found.append(records.Record(f'number {i}', episode, {files.RATE: 10.0}))
  return found


def _rows(path):
  return parquet.read_table(path).to_pylist()


@pytest.fixture
def written(tmp_path):
  spec = fakes.make_image_spec()
  found = _records(spec)
  lerobot.write(tmp_path / 'data', found, spec, 'lift the cube')
  return tmp_path / 'data', [record.episode for record in found]


def test_a_row_is_an_observation_and_what_was_done_on_it(written):
  folder, episodes = written
  rows = _rows(folder / 'data/chunk-000/file-000.parquet')
  steps = [(e, t) for e in range(2) for t in range(episodes[e].length)]
  assert len(rows) == 5
  for row, (e, t) in zip(rows, steps):
    episode = episodes[e]
    np.testing.assert_array_equal(
      np.float32(row['observation.state']),
      episode.observation['state']['tcp_pos'][t],
    )
    image = np.asarray(
      Image.open(io.BytesIO(row['observation.images.image']['bytes']))
    )
    np.testing.assert_array_equal(image, episode.observation['image'][t])
    np.testing.assert_array_equal(np.float32(row['action']), episode.action[t])
    assert np.float32(row['next.reward']) == episode.reward[t]
    last = t == episode.length - 1
    assert row['next.done'] == last
    assert row['next.truncated'] == (last and e == 1)
    assert row['next.success'] == last
    assert row['timestamp'] == pytest.approx(t / 10)
    assert (row['episode_index'], row['frame_index']) == (e, t)
  assert [row['index'] for row in rows] == [0, 1, 2, 3, 4]
  assert {row['task_index'] for row in rows} == {0}


def test_the_columns_are_the_features_that_are_described(written):
  folder, _ = written
  info = json.loads((folder / 'meta/info.json').read_text())
  data = parquet.read_table(folder / 'data/chunk-000/file-000.parquet')
  assert data.column_names == list(info['features'])
  assert info['codebase_version'] == 'v3.0'
  assert info['fps'] == 10
  assert info['splits'] == {'train': '0:2'}
  counts = {name: n for name, n in info.items() if name.startswith('total')}
  assert counts == {'total_episodes': 2, 'total_frames': 5, 'total_tasks': 1}
  path = info['data_path'].format(chunk_index=0, file_index=0)
  assert (folder / path).exists()
  assert info['features']['observation.images.image'] == {
    'dtype': 'image',
    'shape': [8, 8, 3],
    'names': ['height', 'width', 'channels'],
  }
  assert info['features']['observation.state']['names'] == [
    'state.tcp_pos.0',
    'state.tcp_pos.1',
    'state.tcp_pos.2',
  ]
  assert str(data.schema.field('action').type).startswith('fixed_size_list')


def test_the_episodes_and_the_task_are_listed(written):
  folder, _ = written
  rows = _rows(folder / 'meta/episodes/chunk-000/file-000.parquet')
  assert [
    (r['episode_index'], r['length'], r['dataset_from_index'], r['tasks'])
    for r in rows
  ] == [(0, 3, 0, ['lift the cube']), (1, 2, 3, ['lift the cube'])]
  assert [r['dataset_to_index'] for r in rows] == [3, 5]
  assert {(r['data/chunk_index'], r['data/file_index']) for r in rows} == {
    (0, 0)
  }
  table = parquet.read_table(folder / 'meta/tasks.parquet')
  assert table.to_pylist() == [{'task_index': 0, 'task': 'lift the cube'}]
  pandas = json.loads(table.schema.metadata[b'pandas'])
  assert pandas['index_columns'] == ['task']


def test_the_stats_are_those_of_all_steps(written):
  folder, episodes = written
  stats = json.loads((folder / 'meta/stats.json').read_text())
  actions = np.concatenate([episode.action for episode in episodes])
  np.testing.assert_allclose(stats['action']['mean'], actions.mean(0), 1e-6)
  np.testing.assert_allclose(stats['action']['std'], actions.std(0), 1e-6)
  np.testing.assert_allclose(stats['action']['min'], actions.min(0))
  assert stats['action']['count'] == [5]
  images = np.concatenate([e.observation['image'][:-1] for e in episodes])
  image = stats['observation.images.image']
  assert np.shape(image['mean']) == (3, 1, 1)
  np.testing.assert_allclose(
    np.ravel(image['mean']), (images / 255).mean((0, 1, 2))
  )
  np.testing.assert_allclose(
    np.ravel(image['std']), (images / 255).std((0, 1, 2))
  )


def test_a_full_file_is_followed_by_the_next(tmp_path, monkeypatch):
  monkeypatch.setattr(lerobot, '_FILE_MEGABYTES', 0)
  monkeypatch.setattr(lerobot, '_FILES_IN_CHUNK', 2)
  spec = fakes.make_state_spec()
  lerobot.write(tmp_path / 'data', _records(spec, (2, 2, 2)), spec, 'lift')
  found = sorted((tmp_path / 'data/data').glob('*/*'))
  assert [str(path.relative_to(tmp_path / 'data/data')) for path in found] == [
    'chunk-000/file-000.parquet',
    'chunk-000/file-001.parquet',
    'chunk-001/file-000.parquet',
  ]
  rows = _rows(tmp_path / 'data/meta/episodes/chunk-000/file-000.parquet')
  assert [(r['data/chunk_index'], r['data/file_index']) for r in rows] == [
    (0, 0),
    (0, 1),
    (1, 0),
  ]
  assert [row['index'] for row in _rows(found[2])] == [4, 5]


def test_refuses_what_the_format_has_no_place_for(tmp_path):
  spec = fakes.make_state_spec()
  stacked = spec._replace(
    observations={'front': specs.BoundedArray((2, 8, 8, 3), np.uint8, 0, 255)}
  )
  out = tmp_path / 'data'
  write = lambda found, spec: lerobot.write(out, found, spec, 'lift')
  with pytest.raises(ValueError, match="'front' is a stack of shape"):
    write(_records(stacked), stacked)
  nested = spec._replace(actions={'arm': spec.actions})
  with pytest.raises(ValueError, match='expected one vector'):
    write(_records(nested), nested)
  first, second = _records(spec)
  second = second._replace(episode=second.episode._replace(extras={}))
  with pytest.raises(ValueError, match='number 1: success is recorded in some'):
    write([first, second], spec)
  with pytest.raises(ValueError, match='no episode to write'):
    write([], spec)
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
  ('rates', 'message'),
  [
    ([None, 10.0], r'number 0: no steps_per_second .* --steps-per-second'),
    ([10.0, None], 'number 1: no steps_per_second'),
    (
      [10.0, 50.0],
      r'number 1: recorded at 50 .* 10, that of number 0',
    ),
    ([33.3, 33.3], 'number 0: recorded at 33.3 .* expected a whole number'),
    ([0, 0], 'number 0: steps_per_second is 0, expected a positive'),
    (['10', '10'], "number 0: steps_per_second is '10'"),
  ],
)
def test_refuses_rates_that_would_be_wrong(tmp_path, rates, message):
  spec = fakes.make_state_spec()
  found = [
    record._replace(metadata={} if rate is None else {files.RATE: rate})
    for record, rate in zip(_records(spec), rates)
  ]
  with pytest.raises(files.FileError, match=message):
    lerobot.write(tmp_path / 'data', found, spec, 'lift')
  assert list(tmp_path.iterdir()) == []
