"""Tests for convert_data."""

import json
import os
import pickle

import numpy as np
import pytest

from serl.demos import datasets
from serl.demos import files
from serl.testing import fakes
from serl.tools import convert_data


def _write_pickle(path, length=5, size=64):
  """One episode of the vision task, in SERL's layout."""
  observe = lambda t: {
    'front': np.full((1, size, size, 3), t, np.uint8),
    'wrist': np.full((1, size, size, 3), 100 + t, np.uint8),
    'state': np.array([[0.5, 0.3, 0.1, 0.2, 0.0, -3.0, 0.1 * t]], np.float32),
  }
  transitions = [
    {
      'observations': observe(t),
      'actions': np.full(4, 0.5, np.float32),
      'next_observations': observe(t + 1),
      'rewards': 0.1,
      'masks': float(t < length - 1),
      'dones': t == length - 1,
    }
    for t in range(length)
  ]
  path.write_bytes(pickle.dumps(transitions))
  return str(path)


def _write_episodes(folder):
  spec = fakes.make_state_spec()
  folder.mkdir()
  for i in range(2):
    files.write(folder / f'{i}.npz', fakes.make_episode(spec, 3, i), spec)
  return str(folder)


def test_a_pickle_becomes_demonstrations_of_a_task(tmp_path, capsys):
  pytest.importorskip('mujoco', reason='the extra [sim] is not installed')
  from serl.environments.sim import tasks

  source = _write_pickle(tmp_path / 'demos.pkl', size=128)
  out = tmp_path / 'demos'
  convert_data.main(
    [source, str(out), '--task=pick_cube_vision', '--time-limit=5']
  )
  told = capsys.readouterr().out
  assert f'{out}: 1 episodes, 5 steps' in told
  assert 'ended by: 1 time limit, 0 termination, 0 cut off' in told
  assert 'observation/tcp_vel: 6 numbers were outside' in told
  environment = tasks.make('pick_cube_vision')
  ((record),) = datasets.read(out).records
  spec = datasets.read(out).spec
  observation = record.episode.observation
  assert spec.observations.keys() == environment.observation_spec().keys()
  for name, leaf in environment.observation_spec().items():
    for row in observation[name]:
      leaf.validate(row)
  np.testing.assert_allclose(observation['tcp_pos'][0], [0.3, 0.1, 0.2])
  assert record.episode.discount[-1] == 1


def test_it_is_said_that_time_limits_are_not_told(tmp_path, capsys):
  source = _write_pickle(tmp_path / 'demos.pkl')
  convert_data.main([source, str(tmp_path / 'demos')])
  told = capsys.readouterr().out
  assert '0 time limit, 1 termination' in told
  assert '--time-limit=N' in told


def test_a_classifiers_snapshots_are_labelled(tmp_path):
  source = _write_pickle(tmp_path / 'failures.pkl', length=1)
  convert_data.main([source, str(tmp_path / 'data'), '--success=no'])
  (record,) = datasets.read(tmp_path / 'data').records
  assert record.episode.extras['success'].tolist() == [0]


def test_writes_for_lerobot(tmp_path):
  pytest.importorskip('pyarrow', reason='the extra [lerobot] is not installed')
  source = _write_episodes(tmp_path / 'demos')
  out = tmp_path / 'out'
  convert_data.main(
    [source, str(out), '--to=lerobot', '--instruction=lift']
    + ['--steps-per-second=50']
  )
  info = json.loads((out / 'meta/info.json').read_text())
  assert (info['total_frames'], info['fps']) == (6, 50)


def test_lerobots_rate_is_that_of_the_episodes(tmp_path, capsys):
  parquet = pytest.importorskip(
    'pyarrow.parquet', reason='the extra [lerobot] is not installed'
  )
  unknown = _write_episodes(tmp_path / 'unknown')
  known, out = str(tmp_path / 'known'), tmp_path / 'out'
  convert_data.main([unknown, known, '--steps-per-second=50'])
  lerobot = ['--to=lerobot', '--instruction=lift']
  convert_data.main([known, str(out), *lerobot])
  assert json.loads((out / 'meta/info.json').read_text())['fps'] == 50
  rows = parquet.read_table(out / 'data/chunk-000/file-000.parquet')
  assert rows['timestamp'].to_pylist() == pytest.approx([0, 0.02, 0.04] * 2)
  for source, flags, message in (
    (unknown, [], 'no steps_per_second in its metadata, expected the rate'),
    (known, ['--steps-per-second=10'], 'recorded at 50 steps per second, expe'),
    (unknown, ['--steps-per-second=nan'], 'expected a positive number'),
  ):
    with pytest.raises(SystemExit):
      convert_data.main([source, str(tmp_path / 'no'), *lerobot, *flags])
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'no').exists()


def test_writes_rlds_and_reads_it(tmp_path):
  pytest.importorskip(
    'tensorflow_datasets', reason='the extra [rlds] is not installed'
  )
  source = _write_episodes(tmp_path / 'demos')
  convert_data.main([source, str(tmp_path / 'rlds'), '--to=rlds'])
  convert_data.main([str(tmp_path / 'rlds'), str(tmp_path / 'again')])
  for a, b in zip(
    datasets.read(source).records,
    datasets.read(tmp_path / 'again').records,
    strict=True,
  ):
    np.testing.assert_array_equal(a.episode.action, b.episode.action)


def test_the_last_step_of_rlds_is_as_asked(tmp_path, caplog):
  pytest.importorskip(
    'tensorflow_datasets', reason='the extra [rlds] is not installed'
  )
  source = _write_episodes(tmp_path / 'demos')
  convert_data.main([source, str(tmp_path / 'rlds'), '--to=rlds'])
  (tmp_path / 'rlds' / 'metadata.json').unlink()  # as if others wrote it
  for out, flags, steps in (
    ('a', [], 6),
    ('b', ['--last-step=observed'], 6),
    ('c', ['--last-step=acted'], 8),
  ):
    convert_data.main([str(tmp_path / 'rlds'), str(tmp_path / out), *flags])
    found = datasets.read(tmp_path / out).records
    assert sum(record.episode.length for record in found) == steps
  assert 'read as SERL logs RLDS' in caplog.text
  assert 'read as Open-X publishes RLDS' in caplog.text


def test_fields_are_chosen(tmp_path):
  source = _write_pickle(tmp_path / 'demos.pkl')
  for out, flag, left in (
    ('a', '--drop=wrist', {'front', 'state'}),
    ('b', '--keep=observation/state, wrist', {'state', 'wrist'}),
    ('c', '--drop=wrist,front', {'state'}),
  ):
    convert_data.main([source, str(tmp_path / out), flag])
    dataset = datasets.read(tmp_path / out)
    assert dataset.spec.observations.keys() == left
    assert next(dataset.records).episode.observation.keys() == left
  arguments = ['--drop=wrist', '--drop=state']
  convert_data.main([source, str(tmp_path / 'd'), *arguments])
  assert datasets.read(tmp_path / 'd').spec.observations.keys() == {'front'}


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['{}/nowhere', '{}/out'], 'nowhere: no such file or folder'),
    (['{}/demos', '{}/demos'], 'demos exists and is not overwritten'),
    (['{}/demos', '{}/out', '--time-limit=9'], 'only of SERL'),
    (['{}/demos', '{}/out', '--time-limit=0'], '0, expected at least 1'),
    (['{}/demos', '{}/out', '--last-step=acted'], 'can be told only of RLDS'),
    (['{}/demos', '{}/out', '--last-step=x'], "invalid choice: 'x'"),
    (['{}/demos', '{}/out', '--drop=wrist'], "no field 'wrist' to keep or to"),
    (['{}/demos', '{}/out', '--drop=gripper,tcp_pos'], 'nothing is left of'),
    (['{}/demos', '{}/out', '--to=lerobot'], 'needs an --instruction'),
    (['{}/demos', '{}/out', '--task=sort_socks'], "Unknown task 'sort_socks'"),
    (['{}/bomb.pkl', '{}/out'], 'mkdir, which is refused'),
  ],
)
def test_bad_input_is_one_message(tmp_path, capsys, arguments, message):
  if '--task' in arguments[-1]:
    pytest.importorskip('mujoco', reason='the extra [sim] is not installed')

  class Bomb:
    def __reduce__(self):
      return (os.mkdir, (str(tmp_path / 'exploded'),))

  _write_episodes(tmp_path / 'demos')
  (tmp_path / 'bomb.pkl').write_bytes(pickle.dumps([Bomb()]))
  with pytest.raises(SystemExit) as error:
    convert_data.main([a.format(tmp_path) for a in arguments])
  assert error.value.code == 2
  assert message in capsys.readouterr().err
  assert sorted(os.listdir(tmp_path)) == ['bomb.pkl', 'demos']
