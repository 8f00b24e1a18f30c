"""Tests for files."""

import hashlib
import json
import os
import pickle

import numpy as np
import pytest
import tree

from serl import specs
from serl import types
from serl.demos import files
from serl.testing import fakes
from serl.testing import folders


def _spec():
  return fakes.make_image_spec()


def _write(path, length=4, metadata=None, **changes):
  episode = fakes.make_episode(_spec(), length)._replace(**changes)
  files.write(path, episode, _spec(), metadata)
  return episode


def _rewrite(path, target, header_changes=(), **array_changes):
  """Writes the archive `path` again, changed, with sound zip checksums."""
  with np.load(path) as archive:
    arrays = dict(archive)
  header = json.loads(arrays.pop('header').tobytes())
  header.update(header_changes)
  encoded = np.frombuffer(json.dumps(header).encode(), np.uint8)
  np.savez(target, header=encoded, **{**arrays, **array_changes})


def _write_version_1(path, episode, **changes):
  """Writes an episode as it was before archives had digests."""
  _write(path, len(episode.reward))
  with np.load(path) as archive:
    header = json.loads(archive['header'].tobytes())
  path.unlink()
  flat = specs.flatten(episode._asdict())
  digest = hashlib.sha256()
  for name in sorted(flat):
    array = np.ascontiguousarray(flat[name])
    digest.update(f'{name} {array.dtype.str} {array.shape} '.encode())
    digest.update(array.data)
  del header['differences']
  header.update(version=1, checksum=digest.hexdigest())
  encoded = np.frombuffer(json.dumps(header).encode(), np.uint8)
  np.savez(path, header=encoded, **{**flat, **changes})


def _assert_equal(given, expected):
  tree.assert_same_structure(given, expected)
  for a, b in zip(tree.flatten(given), tree.flatten(expected)):
    np.testing.assert_array_equal(a, b)
    assert a.dtype == b.dtype


@pytest.mark.parametrize('rate', [0, -1.0, np.inf, np.nan, '50', True, [5]])
def test_refuses_a_rate_that_is_none(tmp_path, rate):
  spec = _spec()
  episode = fakes.make_episode(spec)
  with pytest.raises(ValueError, match=r'steps_per_second is .* positive'):
    files.write(tmp_path / 'a.npz', episode, spec, {files.RATE: rate})


def test_an_episode_comes_back_as_it_was(tmp_path):
  extras = {'time': np.arange(4.0), 'human': {'acted': np.zeros(4, bool)}}
  episode = _write(
    tmp_path / 'a.npz', metadata={'success': True}, extras=extras
  )
  again, metadata = files.read(tmp_path / 'a.npz', _spec())
  _assert_equal(again, episode)
  assert metadata == {'success': True}


def test_a_bare_array_is_an_observation_too(tmp_path):
  spec = _spec()._replace(observations=specs.Array((2,), np.float32))
  episode = fakes.make_episode(spec)
  files.write(tmp_path / 'a.npz', episode, spec)
  again, _ = files.read(tmp_path / 'a.npz', spec)
  _assert_equal(again, episode)


def test_a_header_tells_the_spec_without_reading_the_arrays(tmp_path):
  _write(tmp_path / 'a.npz', length=7)
  header = files.read_header(tmp_path / 'a.npz')
  assert header['spec']['observations'] == specs.to_dict(_spec().observations)
  assert header['spec']['actions'] == specs.to_dict(_spec().actions)
  assert header['schema']['observation/image'] == {
    'shape': [8, 8, 8, 3],
    'dtype': 'uint8',
  }


def test_the_order_of_keys_changes_no_byte(tmp_path):
  spec = _spec()
  swapped = spec._replace(
    observations=dict(reversed(list(spec.observations.items())))
  )
  episode = fakes.make_episode(spec)
  turned = episode._replace(
    observation=dict(reversed(list(episode.observation.items())))
  )
  files.write(tmp_path / 'a.npz', episode, spec)
  files.write(tmp_path / 'b.npz', turned, swapped)
  a, b = tmp_path / 'a.npz', tmp_path / 'b.npz'
  assert files.read_header(a) == files.read_header(b)
  files.read(b, spec)


def test_never_overwrites(tmp_path):
  _write(tmp_path / 'a.npz')
  before = (tmp_path / 'a.npz').read_bytes()
  with pytest.raises(FileExistsError, match=r'a\.npz exists'):
    _write(tmp_path / 'a.npz', length=9)
  assert (tmp_path / 'a.npz').read_bytes() == before
  assert os.listdir(tmp_path) == ['a.npz']


def test_a_write_that_is_killed_leaves_nothing_to_read(tmp_path, monkeypatch):
  _write(tmp_path / 'a.npz')

  class Killed(BaseException):
    pass

  def die(*_):
    raise Killed

  monkeypatch.setattr(os, 'link', die)
  monkeypatch.setattr(files.pathlib.Path, 'unlink', lambda _: None)
  with pytest.raises(Killed):
    _write(tmp_path / 'b.npz')
  assert len(os.listdir(tmp_path)) == 2  # the leftover is there,
  assert files.paths(tmp_path) == [tmp_path / 'a.npz']  # and not taken


def test_a_folder_that_is_not_writable_is_named():
  with (
    folders.unwritable() as folder,
    pytest.raises(
      PermissionError, match=r'Permission denied.*writable'
    ) as error,
  ):
    _write(folder / 'a.npz')
  assert str(folder) in str(error.value)


def test_a_missing_folder_is_named(tmp_path):
  with pytest.raises(FileNotFoundError, match='nowhere'):
    _write(tmp_path / 'nowhere' / 'a.npz')


def test_a_full_disk_leaves_no_file():
  spec = _spec()
  try:
    with folders.small_disk(2**16) as folder:
      with pytest.raises(OSError, match='No space left'):
        files.write(
          folder / 'a.npz', fakes.make_episode(spec, length=2000), spec
        )
      assert os.listdir(folder) == []
  except folders.NoSmallDiskError as error:
    pytest.skip(f'cannot mount a small disk: {error}')


@pytest.mark.parametrize('name', ['.a.npz', 'a.pkl', 'a'])
def test_refuses_a_name_that_readers_would_not_see(tmp_path, name):
  with pytest.raises(ValueError, match=r'NAME\.npz'):
    _write(tmp_path / name)


def test_refuses_an_episode_that_does_not_fit_its_spec(tmp_path):
  with pytest.raises(ValueError, match='action: '):
    _write(tmp_path / 'a.npz', action=np.zeros((4, 3), np.float32))
  assert not os.listdir(tmp_path)


def test_refuses_keys_that_would_not_come_back(tmp_path):
  with pytest.raises(ValueError, match="'a/b'"):
    _write(tmp_path / 'a.npz', extras={'a/b': np.zeros(4)})
  with pytest.raises(ValueError, match='extras/pair is a tuple'):
    _write(tmp_path / 'a.npz', extras={'pair': (np.zeros(4), np.zeros(4))})


def test_refuses_another_spec_and_shows_the_differences(tmp_path):
  _write(tmp_path / 'a.npz')
  spec = _spec()
  other = spec._replace(
    observations={**spec.observations, 'force': specs.Array((3,), np.float32)},
    actions=specs.BoundedArray((4,), np.float32, -1.0, 1.0),
  )
  for read in (files.read, files.read_header):
    with pytest.raises(files.SpecError, match=r'a\.npz.*another spec') as error:
      read(tmp_path / 'a.npz', other)
    assert 'observations: force: missing' in str(error.value)
    assert 'actions: value: ' in str(error.value)
    assert "'shape': [2]" in str(error.value)


@pytest.mark.parametrize('kept', [0, 1, 30, 0.5, -30, -1])
def test_refuses_a_torn_file(tmp_path, kept):
  _write(tmp_path / 'a.npz')
  whole = (tmp_path / 'a.npz').read_bytes()
  end = int(kept * len(whole)) if isinstance(kept, float) else kept
  (tmp_path / 'a.npz').write_bytes(whole[:end])
  with pytest.raises(files.TornFileError, match=r'a\.npz: torn or damaged'):
    files.read(tmp_path / 'a.npz')


def test_no_damaged_byte_goes_unseen(tmp_path):
  episode = _write(tmp_path / 'a.npz', length=2)
  whole = (tmp_path / 'a.npz').read_bytes()
  rng = np.random.default_rng(0)
  refused = 0
  for place in rng.choice(len(whole), len(whole), replace=False):
    damaged = bytearray(whole)
    damaged[place] ^= 1 << rng.integers(8)
    path = tmp_path / 'damaged.npz'
    path.write_bytes(damaged)
    try:
      again, _ = files.read(path)
    except files.FileError:
      refused += 1
    else:  # The zip format has bytes that mean nothing: times, permissions.
      _assert_equal(again, episode)
  assert refused > 200


def test_refuses_a_pickle_without_opening_it(tmp_path):
  class Bomb:
    def __reduce__(self):
      return (os.mkdir, (str(tmp_path / 'exploded'),))

  for protocol in (2, 4):
    with open(tmp_path / 'a.pkl', 'wb') as file:
      pickle.dump([Bomb()], file, protocol)
    with pytest.raises(
      files.PickleFileError, match=r'a\.pkl: a pickle.*import'
    ):
      files.read(tmp_path / 'a.pkl')
  np.savez(tmp_path / 'b.npz', header=np.array([Bomb()], object))
  with pytest.raises(files.FileError, match=r'b\.npz'):
    files.read(tmp_path / 'b.npz')
  assert not (tmp_path / 'exploded').exists()


def test_refuses_what_is_something_else(tmp_path):
  (tmp_path / 'a.npz').write_text('hello')
  with pytest.raises(files.FileError, match="starts with b'he'"):
    files.read(tmp_path / 'a.npz')
  np.savez(tmp_path / 'b.npz', x=np.zeros(3))
  with pytest.raises(files.FileError, match='without a header'):
    files.read(tmp_path / 'b.npz')
  _write(tmp_path / 'c.npz')
  _rewrite(tmp_path / 'c.npz', tmp_path / 'd.npz', {'format': 'robomimic'})
  with pytest.raises(files.FileError, match=r"'robomimic'.*expected"):
    files.read(tmp_path / 'd.npz')


@pytest.mark.parametrize(
  ('version', 'advice'), [(0, 'write it again'), (3, 'update serl')]
)
def test_refuses_another_version(tmp_path, version, advice):
  _write(tmp_path / 'a.npz')
  _rewrite(tmp_path / 'a.npz', tmp_path / 'b.npz', {'version': version})
  with pytest.raises(
    files.VersionError,
    match=rf'b\.npz: version {version} .*expected 2.*{advice}',
  ):
    files.read(tmp_path / 'b.npz')


def test_refuses_arrays_that_were_changed(tmp_path):
  _write(tmp_path / 'a.npz')
  _rewrite(
    tmp_path / 'a.npz', tmp_path / 'b.npz', reward=np.full(4, 9, np.float32)
  )
  with pytest.raises(files.ChecksumError, match=r'b\.npz: checksum'):
    files.read(tmp_path / 'b.npz')


def test_reads_files_that_have_a_checksum_of_the_arrays(tmp_path):
  episode = fakes.make_episode(_spec(), 4)
  _write_version_1(tmp_path / 'a.npz', episode)
  _assert_equal(files.read(tmp_path / 'a.npz', _spec())[0], episode)
  assert files.read_header(tmp_path / 'a.npz', _spec())['version'] == 1
  changed = np.full(4, 9, np.float32)
  _write_version_1(tmp_path / 'b.npz', episode, reward=changed)
  with pytest.raises(files.ChecksumError, match=r'b\.npz: checksum'):
    files.read(tmp_path / 'b.npz')
  _write_version_1(tmp_path / 'c.npz', episode, more=np.zeros(4))
  with pytest.raises(files.ChecksumError, match='more: '):
    files.read(tmp_path / 'c.npz')


@pytest.mark.parametrize(
  'name, change, told',
  [
    ('action', {2: np.nan}, r'action: \[nan .*\] at step 2, expected finite'),
    ('action', {3: 1.01}, r'action: \[1\.01 .* at step 3, .* \[-1\.0, 1\.0\]'),
    ('reward', {1: 1e30}, r'reward: 1\S* at step 1, .* at most 1e\+09'),
    ('reward', {0: -np.inf}, r'reward: -inf at step 0, expected finite'),
    ('discount', {3: 1.5}, r'discount: 1\.5 at step 3, .* within \[0'),
    ('discount', {0: np.nan}, r'discount: nan at step 0'),
    ('observation/gripper', {4: 1e10}, r'gripper: .* at step 4, .* finite'),
    ('observation/tcp_pos', {4: 2.5}, r'tcp_pos: .* at step 4, .* within'),
  ],
)
def test_refuses_numbers_that_nothing_could_learn_from(
  tmp_path, name, change, told
):
  spec = fakes.make_state_spec()
  flat = specs.flatten(fakes.make_episode(spec, 4)._asdict())
  for step, value in change.items():
    flat[name][step, ...] = value
  episode = types.Episode(**{'extras': {}, **specs.unflatten(flat)})
  with pytest.raises(ValueError, match=told):
    files.write(tmp_path / 'a.npz', episode, spec)
  # By a version that did not look.
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(files.adders, 'check', lambda *_: None)
    files.write(tmp_path / 'a.npz', episode, spec)
  for expected in (spec, None):
    with pytest.raises(files.ContentError, match=rf'a\.npz: .*\n.*{told}'):
      files.read(tmp_path / 'a.npz', expected)


def test_what_passes_its_bounds_by_little_is_taken(tmp_path):
  spec = fakes.make_state_spec()
  episode = fakes.make_episode(spec, 4)
  episode.action[0] = 1.000001  # rounding
  episode.observation['tcp_pos'][:] = 1.5  # a sensor
  files.write(tmp_path / 'a.npz', episode, spec)
  _assert_equal(files.read(tmp_path / 'a.npz', spec)[0], episode)


@pytest.mark.parametrize(
  'changes, told',
  [
    ({'action': np.zeros((3, 2), np.float32)}, r'action: .*\(3, 2\).*\(4, 2\)'),
    ({'reward': np.zeros(4, np.float64)}, 'reward: .*float64.*float32'),
    ({'reward': np.zeros((4, 1), np.float32)}, r'reward: .*\(4, 1\)'),
    ({'extras': {'time': np.zeros(3)}}, r'extras/time: shape \(3,\)'),
    (
      {
        'observation': {
          'state': {'tcp_pos': np.zeros((1, 3), np.float32)},
          'image': np.zeros((1, 8, 8, 3), np.uint8),
        },
        'action': np.zeros((0, 2), np.float32),
        'reward': np.zeros(0, np.float32),
        'discount': np.zeros(0, np.float32),
      },
      'reward: no step',
    ),
  ],
)
def test_refuses_arrays_that_are_not_of_the_spec(tmp_path, changes, told):
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(files.adders, 'check', lambda *_: None)
    _write(tmp_path / 'a.npz', **changes)
  with pytest.raises(files.ContentError, match=rf'a\.npz: .*\n.*{told}'):
    files.read(tmp_path / 'a.npz')


@pytest.mark.parametrize(
  'header',
  [
    {},
    {'spec': {}},
    {'spec': {'observations': {}, 'actions': {'': {}}}},
    {'spec': None},
    {'schema': []},
    {'metadata': 3},
    {'differences': ['nothing']},
    {'differences': 7},
    {'schema': {'reward': {'shape': 5}}},
    {'schema': {'reward': {'shape': []}}},
    {'schema': {'reward': 5}},
  ],
)
def test_a_header_without_its_parts_is_torn(tmp_path, header, monkeypatch):
  dumps = json.dumps
  monkeypatch.setattr(
    files.json,
    'dumps',
    lambda whole: dumps(
      {**whole, **header}
      if header
      else {'format': 'serl-episode', 'version': 2}
    ),
  )
  _write(tmp_path / 'a.npz')
  with pytest.raises(files.FileError, match=r'a\.npz: '):
    files.read(tmp_path / 'a.npz')


def test_paths_are_sorted_and_skip_what_is_unfinished(tmp_path):
  for name in ('b', 'a'):
    _write(tmp_path / f'{name}.npz')
  (tmp_path / '.c.npz.1.tmp').write_bytes(b'PK')
  (tmp_path / '.d.npz').write_bytes(b'PK')
  (tmp_path / 'README.md').write_text('hello')
  assert files.paths(tmp_path) == [tmp_path / 'a.npz', tmp_path / 'b.npz']
  assert files.paths(tmp_path / 'b.npz') == [tmp_path / 'b.npz']


def test_paths_refuses_nothing(tmp_path):
  with pytest.raises(files.FileError, match='no episode in it'):
    files.paths(tmp_path)
  with pytest.raises(files.FileError, match='nowhere: no such'):
    files.paths(tmp_path / 'nowhere')


def test_the_columns_are_those_of_an_episode(tmp_path):
  _write(tmp_path / 'a.npz')
  again, _ = files.read(tmp_path / 'a.npz')
  assert isinstance(again, types.Episode)
  assert again.length == 4
