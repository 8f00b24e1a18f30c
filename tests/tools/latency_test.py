"""Tests for latency."""

import numpy as np
import pytest

from serl import specs
from serl import types
from serl.demos import log
from serl.programs import run_folder
from serl.tools import latency

_SPEC = specs.EnvironmentSpec(
  observations={'x': specs.Array((1,), np.float32, 'x')},
  actions=specs.BoundedArray((1,), np.float32, -1.0, 1.0, 'action'),
  rewards=specs.Array((), np.float32, 'reward'),
  discounts=specs.BoundedArray((), np.float32, 0.0, 1.0, 'discount'),
)


def _extras(thinking, sending=0.002, late=None):
  """Returns the extras of steps of 0.1 s that took so long to think, s."""
  captured = 10.0 + 0.1 * np.arange(len(thinking))
  inferred = captured + thinking
  return {
    'capture_time': captured,
    'inference_time': inferred,
    'command_time': inferred + 0.001,
    'acknowledgement_time': inferred + 0.001 + sending,
    'late': np.array(late or [0] * len(thinking), np.uint8),
    'success': np.zeros(len(thinking), np.uint8),
  }


def _episode(extras, length):
  return types.Episode(
    observation={'x': np.zeros((length + 1, 1), np.float32)},
    action=np.zeros((length, 1), np.float32),
    reward=np.zeros(length, np.float32),
    discount=np.ones(length, np.float32),
    extras=extras,
  )


def _write(folder, *extras):
  episodes = log.EpisodeLog(folder, _SPEC)
  for columns in extras:
    length = len(columns['success'])
    episodes.append(_episode(columns, length))


def test_the_parts_of_a_step_in_milliseconds():
  found = latency.durations(_extras([0.02, 0.03], late=[0, 1]))
  np.testing.assert_allclose(found['observation and inference'], (20, 30))
  np.testing.assert_allclose(found['preparation'], (1, 1))
  np.testing.assert_allclose(found[latency.COMMAND], (2, 2))
  np.testing.assert_allclose(found[latency.PERIOD], (100, np.nan))
  np.testing.assert_array_equal(found['late'], (False, True))


def _dated(extras):
  """Returns extras with a state of 15 ms ago and pictures of 40 ms ago."""
  return {
    **extras,
    'state_time': extras['command_time'] - 0.015,
    'frame_time': extras['command_time'] - 0.04,
  }


def test_how_old_was_what_was_acted_on(tmp_path, capsys):
  found = latency.durations(_dated(_extras([0.02, 0.03])))
  np.testing.assert_allclose(found[latency.STATE_AGE], (15, 15))
  np.testing.assert_allclose(found[latency.FRAME_AGE], (40, 40))
  _write(tmp_path, _dated(_extras([0.02, 0.03])))
  latency.main([str(tmp_path)])
  shown = ' '.join(capsys.readouterr().out.split())
  assert 'oldest picture, at the command' in shown and '40.0' in shown


def test_episodes_that_do_not_tell_ages_are_drawn_too(tmp_path):
  _write(tmp_path, _extras([0.02]), _dated(_extras([0.03])))
  steps = latency.read(sorted(tmp_path.glob('*.npz')))
  np.testing.assert_allclose(steps[latency.FRAME_AGE], (np.nan, 40))
  latency.make_figure('a run', steps)


def test_the_episodes_of_all_actors_are_drawn(tmp_path, capsys):
  run = tmp_path / 'run'
  for actor, late in (('actor', [0, 0, 1]), ('actor_1', [1, 0, 0])):
    _write(run_folder.episodes(run, actor), _extras([0.01] * 3, late=late))
  latency.main([str(run)])
  picture = run / 'latency.png'
  assert picture.read_bytes().startswith(b'\x89PNG')
  shown = capsys.readouterr().out
  assert '2 of 6 steps late (33.33%)' in shown
  assert str(picture) in shown


def test_a_folder_of_episodes_is_drawn_to_a_file(tmp_path):
  _write(tmp_path / 'demos', _extras([0.01] * 3))
  output = tmp_path / 'drawn.png'
  latency.main([str(tmp_path / 'demos'), '--output', str(output)])
  assert output.read_bytes().startswith(b'\x89PNG')


def test_episodes_without_times_are_left_out(tmp_path):
  success = {'success': np.zeros(2, np.uint8)}
  folder = tmp_path / 'demos'
  _write(folder, success, _extras([0.05]))
  steps = latency.read(sorted(folder.glob('*.npz')))
  np.testing.assert_allclose(steps['observation and inference'], [50])


@pytest.mark.parametrize('written', [True, False])
def test_what_tells_no_times_is_refused(tmp_path, capsys, written):
  if written:
    _write(tmp_path, {'success': np.zeros(2, np.uint8)})
  with pytest.raises(SystemExit):
    latency.main([str(tmp_path)])
  expected = 'no episode tells its times' if written else 'no episode in it'
  assert expected in capsys.readouterr().err
  assert not (tmp_path / 'latency.png').exists()
