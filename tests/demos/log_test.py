"""Tests for log."""

import os
import shutil

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


def _fill(folder, lengths=(3, 5, 2)):
  log = log_lib.EpisodeLog(folder, _spec())
  for seed, length in enumerate(lengths):
    log.append(fakes.make_episode(_spec(), length, seed))


@pytest.fixture
def header_reads(monkeypatch):
  """Gives the names of the files whose headers are read."""
  names, read = [], files.read_header

  def noted(path, *args):
    names.append(path.name)
    return read(path, *args)

  monkeypatch.setattr(files, 'read_header', noted)
  return names


def test_an_index_spares_reading_the_files(tmp_path, header_reads):
  _fill(tmp_path)
  log = log_lib.EpisodeLog(tmp_path, _spec())
  assert (len(log), log.steps) == (3, 10)
  assert header_reads == []


def test_a_file_that_changed_is_read_again(tmp_path, header_reads):
  _fill(tmp_path)
  (tmp_path / '000001.npz').unlink()
  files.write(tmp_path / '000001.npz', fakes.make_episode(_spec(), 7), _spec())
  (tmp_path / '000002.npz').unlink()
  log = log_lib.EpisodeLog(tmp_path, _spec())
  assert (len(log), log.steps) == (2, 10)
  assert header_reads == ['000001.npz']
  assert log_lib.EpisodeLog(tmp_path, _spec()).steps == 10
  assert header_reads == ['000001.npz']


@pytest.mark.parametrize(
  'tear',
  [
    lambda content: b'',
    lambda content: bytes(len(content)),
    lambda content: b'\x80\xff' + content[2:],
    lambda content: content[:-9],
    lambda content: content[: len(content) // 2] + bytes(30),
    lambda content: content.replace(b' 5, ', b' 6, ').replace(b' 5]', b' 6]'),
    lambda content: b'00000000 7\n' + content + b'nonsense',
    None,
  ],
)
def test_a_torn_index_is_made_again(tmp_path, tear, caplog):
  _fill(tmp_path)
  path = tmp_path / 'index.jsonl'
  content = path.read_bytes()
  if tear is None:
    path.unlink()
  else:
    path.write_bytes(tear(content))
  log = log_lib.EpisodeLog(tmp_path, _spec())
  assert (len(log), log.steps) == (3, 10)
  assert path.read_bytes() == content
  log.append(fakes.make_episode(_spec(), 1))
  assert log_lib.EpisodeLog(tmp_path, _spec()).steps == 11


def test_unreadable_lines_of_an_index_are_counted(tmp_path, caplog):
  _fill(tmp_path)
  with open(tmp_path / 'index.jsonl', 'ab') as file:
    file.write(b'00000000 torn')
  log = log_lib.EpisodeLog(tmp_path, _spec())
  assert 'index.jsonl: 1 lines cannot be read' in caplog.text
  assert log.steps == 10


def test_a_line_after_a_torn_one_counts(tmp_path, header_reads):
  _fill(tmp_path)
  log = log_lib.EpisodeLog(tmp_path, _spec())
  with open(tmp_path / 'index.jsonl', 'ab') as file:
    file.write(b'00000000 to')  # by a process that was killed
  log.append(fakes.make_episode(_spec(), 4))
  assert log_lib.EpisodeLog(tmp_path, _spec()).steps == 14
  assert header_reads == []


def _go_on(folder, **kwargs):
  """Opens a log that goes on; returns it and the names of damaged files."""
  names = []
  log = log_lib.EpisodeLog(
    folder, _spec(), on_damage=lambda path, _: names.append(path.name), **kwargs
  )
  return log, names


@pytest.mark.parametrize('content', [b'', b'nonsense', b'\x80', b'PK', None])
@pytest.mark.parametrize('has_index', [True, False])
def test_goes_on_without_what_is_damaged(tmp_path, content, has_index):
  _fill(tmp_path)
  path = tmp_path / '000001.npz'
  stat, whole = path.stat(), path.read_bytes()
  damaged = whole[:-30] + bytes(30) if content is None else content
  path.write_bytes(damaged)
  if has_index:
    # The index tells nothing of bytes: the file looks as it was.
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
  else:
    (tmp_path / 'index.jsonl').unlink()
  log, names = _go_on(tmp_path)
  assert [e.length for e in log.episodes()] == [3, 2]
  assert names == ['000001.npz']
  assert (len(log), log.steps) == (2, 5)
  assert log.append(fakes.make_episode(_spec(), 4)).name == '000003.npz'
  with pytest.raises(files.FileError, match='000001'):
    list(log_lib.EpisodeLog(tmp_path, _spec()).episodes())


def test_the_number_of_a_damaged_episode_is_not_given_again(tmp_path):
  _fill(tmp_path)
  (tmp_path / '000002.npz').write_bytes(b'')
  log, _ = _go_on(tmp_path)
  assert log.append(fakes.make_episode(_spec(), 4)).name == '000003.npz'


def test_a_folder_in_a_files_place_is_damage(tmp_path):
  _fill(tmp_path)
  (tmp_path / '000005.npz').mkdir()
  (tmp_path / '000004.npz').symlink_to('nowhere')
  log, names = _go_on(tmp_path)
  assert names == ['000004.npz', '000005.npz']
  assert len(log) == 3


def test_another_spec_is_no_damage(tmp_path):
  _fill(tmp_path)
  other = _spec()._replace(actions=specs.Array((5,), np.float32))
  with pytest.raises(files.SpecError, match=r'000000\.npz'):
    log_lib.EpisodeLog(tmp_path, other, on_damage=lambda *_: None)


def test_what_is_not_named_by_a_number_is_no_runs(tmp_path, caplog):
  _fill(tmp_path)
  for name in ('best.npz', '7.npz'):
    shutil.copy(tmp_path / '000000.npz', tmp_path / name)
  log, names = _go_on(tmp_path)
  assert (len(log), names) == (3, [])
  assert 'best.npz is not of this log' in caplog.text
  assert len(log_lib.EpisodeLog(tmp_path, _spec())) == 5


def test_episodes_are_found_by_their_numbers(tmp_path):
  _fill(tmp_path, (3, 5, 2, 4))
  (tmp_path / '000001.npz').unlink()
  log, _ = _go_on(tmp_path)
  assert [log.next_number(n) for n in range(5)] == [0, 2, 2, 3, None]
  assert [log.count_from(n) for n in range(5)] == [3, 2, 2, 1, 0]
  assert [log.first_within(n) for n in (1, 4, 5, 6, 7, 9, 99)] == [
    3,
    3,
    2,
    2,
    0,
    0,
    0,
  ]
  assert log.steps_between(0, 3) == 5
  assert log.steps_between(1, 9) == 6
  assert log.read(3).length == 4
  extras = {'intervened': np.ones(3, bool), 'more': {'x': np.zeros(3)}}
  log.append(fakes.make_episode(_spec(), 3)._replace(extras=extras))
  for opened in (log, _go_on(tmp_path)[0]):
    assert opened.may_hold(4, 'intervened')
    assert not opened.may_hold(4, 'more')
    assert not opened.may_hold(3, 'intervened')
  (tmp_path / 'index.jsonl').unlink()
  assert _go_on(tmp_path)[0].may_hold(4, 'more')


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
