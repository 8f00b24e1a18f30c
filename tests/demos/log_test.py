"""Tests for log."""

import numpy as np
import pytest

from serl import specs
from serl.demos import files
from serl.demos import log as log_lib
from serl.testing import fakes
from serl.testing import folders


def _spec():
  return fakes.make_state_spec()


def test_numbers_its_files_and_counts(tmp_path):
  log = log_lib.EpisodeLog(tmp_path / 'new' / 'actor_0', _spec())
  assert (len(log), log.steps) == (0, 0)
  paths = [log.append(fakes.make_episode(_spec(), n)) for n in (3, 5)]
  assert [p.name for p in paths] == ['000000.npz', '000001.npz']
  assert (len(log), log.steps) == (2, 8)


def test_goes_on_where_it_ended(tmp_path):
  log = log_lib.EpisodeLog(tmp_path, _spec())
  for length in (3, 5):
    log.append(fakes.make_episode(_spec(), length))
  (tmp_path / '.000002.npz.77.tmp').write_bytes(b'PK')  # of a killed process
  again = log_lib.EpisodeLog(tmp_path, _spec())
  assert (len(again), again.steps) == (2, 8)
  assert again.append(fakes.make_episode(_spec(), 2)).name == '000002.npz'
  assert [e.length for e in again.episodes()] == [3, 5, 2]


def test_numbers_on_after_a_gap(tmp_path):
  log = log_lib.EpisodeLog(tmp_path, _spec())
  for _ in range(3):
    log.append(fakes.make_episode(_spec()))
  (tmp_path / '000001.npz').unlink()
  again = log_lib.EpisodeLog(tmp_path, _spec())
  assert again.append(fakes.make_episode(_spec())).name == '000003.npz'


def test_discards_an_episode_but_not_its_number(tmp_path):
  log = log_lib.EpisodeLog(tmp_path, _spec())
  paths = [log.append(fakes.make_episode(_spec(), n)) for n in (3, 5)]
  log.discard(paths[1])
  assert (len(log), log.steps) == (1, 3)
  assert not paths[1].exists()
  assert log.append(fakes.make_episode(_spec())).name == '000002.npz'


def test_keeps_metadata_of_the_log_and_of_the_episode(tmp_path):
  log = log_lib.EpisodeLog(tmp_path, _spec(), {'actor': 'actor_0', 'note': 'x'})
  path = log.append(fakes.make_episode(_spec()), {'success': 1.0, 'note': 'y'})
  assert files.read(path)[1] == {
    'actor': 'actor_0',
    'success': 1.0,
    'note': 'y',
  }


def test_keeps_the_rate(tmp_path):
  log = log_lib.EpisodeLog(tmp_path, _spec(), steps_per_second=50.0)
  path = log.append(fakes.make_episode(_spec()), {'success': 1.0})
  assert files.read(path)[1] == {'success': 1.0, 'steps_per_second': 50.0}


def test_reads_one_episode_at_a_time(tmp_path):
  log = log_lib.EpisodeLog(tmp_path, _spec())
  for length in (3, 5):
    log.append(fakes.make_episode(_spec(), length))
  episodes = log.episodes()
  assert next(episodes).length == 3
  (tmp_path / '000001.npz').write_bytes(b'PK')
  with pytest.raises(files.TornFileError, match='000001'):
    next(episodes)


def test_refuses_to_go_on_with_another_spec(tmp_path):
  log_lib.EpisodeLog(tmp_path, _spec()).append(fakes.make_episode(_spec()))
  other = _spec()._replace(actions=specs.Array((5,), np.float32))
  with pytest.raises(files.SpecError, match=r'000000\.npz'):
    log_lib.EpisodeLog(tmp_path, other)


def test_a_folder_that_is_not_writable_is_named():
  with folders.unwritable() as folder:
    with pytest.raises(PermissionError, match='actor_0'):
      log_lib.EpisodeLog(folder / 'actor_0', _spec())
    log = log_lib.EpisodeLog(folder, _spec())
    with pytest.raises(PermissionError, match='writable'):
      log.append(fakes.make_episode(_spec()))
