"""Tests for inspect_data."""

import os

from matplotlib import image
import numpy as np
import pytest

from serl import specs
from serl.demos import files
from serl.testing import fakes
from serl.tools import inspect_data


def _write(folder, spec, count=2):
  folder.mkdir()
  for i in range(count):
    episode = fakes.make_episode(spec, length=4 + i, seed=i)
    episode = episode._replace(extras={'success': np.full(4 + i, i, np.uint8)})
    episode.action[:, 0] = 0.5
    metadata = {files.RATE: 50} if i else {}
    files.write(folder / f'{i}.npz', episode, spec, metadata)
  return str(folder)


def test_prints_and_draws_a_data_set(tmp_path, capsys, monkeypatch):
  monkeypatch.setenv('COLUMNS', '120')
  source = _write(tmp_path / 'data', fakes.make_image_spec())
  inspect_data.main([source, '--out', str(tmp_path / 'out')])
  told = ' '.join(capsys.readouterr().out.split())
  for expected in (
    '│ episodes │ 2 │',
    '│ steps │ 9 │',
    '│ steps per second │ 50 │',
    '│ length │ 4 to 5, median 4 │',
    '│ ended by │ 0 termination, 2 time or cut │',
    '│ success │ 1 of 2 │',
    '│ image │ uint8 │ [8, 8, 3] │ 0 to 255 │',
    '│ extras/success │',
    '│ action[0] │ 0.500 │ 0.500 │ 0.500 │ 0% │',
  ):
    assert expected in told
  assert sorted(os.listdir(tmp_path / 'out')) == [
    'film_strips.png',
    'overview.png',
  ]
  for name in ('film_strips.png', 'overview.png'):
    assert image.imread(tmp_path / 'out' / name).std() > 0.01


def test_there_is_no_film_of_numbers(tmp_path):
  source = _write(tmp_path / 'data', fakes.make_state_spec())
  inspect_data.main([source, '--out', str(tmp_path / 'out')])
  assert os.listdir(tmp_path / 'out') == ['overview.png']


@pytest.mark.parametrize('shape', [(8, 6, 1), (8, 6, 3), (2, 8, 6, 3)])
def test_films_of_any_image(tmp_path, shape):
  spec = fakes.make_image_spec()
  image_spec = specs.BoundedArray(shape, np.uint8, 0, 255)
  spec = spec._replace(observations={'wrist': image_spec})
  source = _write(tmp_path / 'data', spec)
  inspect_data.main([source, '--out', str(tmp_path / 'out')])
  assert (tmp_path / 'out' / 'film_strips.png').exists()


def test_damaged_files_are_named(tmp_path, capsys):
  source = _write(tmp_path / 'data', fakes.make_state_spec(), count=4)
  for i in (1, 3):
    path = tmp_path / 'data' / f'{i}.npz'
    path.write_bytes(path.read_bytes()[:-40])
  with pytest.raises(SystemExit) as error:
    inspect_data.main([source])
  assert error.value.code == 2
  told = capsys.readouterr().err
  assert '2 of 4 episodes cannot be read' in told
  assert '1.npz: torn' in told
  assert '3.npz: torn' in told


def test_nothing_there_is_one_message(tmp_path, capsys):
  with pytest.raises(SystemExit):
    inspect_data.main([str(tmp_path / 'nowhere')])
  assert 'nowhere: no such file or folder' in capsys.readouterr().err
