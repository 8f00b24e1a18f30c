"""Tests for plot."""

import pathlib

import pytest

from serl.tools import plot
from serl.utils import loggers


def _make_run(run):
  logger = loggers.make_logger(run, 'evaluator')
  for i in range(3):
    logger.write({'env_steps': i, 'success': i / 2, 'episode_return': i})
  logger.close()
  return str(run)


def _is_png(path):
  return pathlib.Path(path).read_bytes().startswith(b'\x89PNG')


def test_draws_a_run_in_its_folder(tmp_path, capsys):
  run = _make_run(tmp_path / 'run')
  plot.main([run])
  assert _is_png(tmp_path / 'run' / 'learning_curve.png')
  assert capsys.readouterr().out.strip() == f'{run}/learning_curve.png'


def test_draws_several_runs_here(tmp_path, monkeypatch):
  runs = [_make_run(tmp_path / name) for name in 'ab']
  monkeypatch.chdir(tmp_path)
  plot.main(runs)
  assert _is_png('learning_curve.png')


def test_draws_to_a_given_file(tmp_path):
  plot.main([_make_run(tmp_path / 'run'), '--output', str(tmp_path / 'x.png')])
  assert _is_png(tmp_path / 'x.png')
  assert not (tmp_path / 'run' / 'learning_curve.png').exists()


def test_refuses_what_is_no_run(tmp_path, capsys):
  with pytest.raises(SystemExit) as error:
    plot.main([str(tmp_path / 'nowhere')])
  assert error.value.code == 2
  assert 'nowhere has no metrics' in capsys.readouterr().err
