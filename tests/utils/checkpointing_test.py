"""Tests for checkpointing."""

import json
import os
import shutil
import signal
import subprocess
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from serl.testing import folders
from serl.utils import checkpointing


class _State(NamedTuple):
  params: Any
  optimizer_state: Any
  key: jax.Array
  steps: jax.Array


def _state(seed=0, width=4):
  key = jax.random.PRNGKey(seed)
  params = {'mlp/~/linear_0': {'w': jax.random.normal(key, (width, 3))}}
  return _State(
    params=params,
    optimizer_state=optax.adam(1e-3).init(params),
    key=key,
    steps=jnp.int32(seed),
  )


def _assert_bitwise_equal(given, expected):
  assert jax.tree.structure(given) == jax.tree.structure(expected)
  for a, b in zip(jax.tree.leaves(given), jax.tree.leaves(expected)):
    assert a.dtype == b.dtype
    assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_a_state_comes_back_bit_for_bit(tmp_path):
  state = _state(seed=3)
  odd = np.array([np.nan, -0.0, np.inf, 1e-45], np.float32)
  state = state._replace(params={**state.params, 'odd': jnp.array(odd)})
  template = jax.tree.map(jnp.zeros_like, state)
  checkpointing.Checkpointer(tmp_path).save(7, state, {'env_steps': 123})
  step, again, counters = checkpointing.Checkpointer(tmp_path).restore_latest(
    template
  )
  assert step == 7
  assert counters == {'env_steps': 123}
  _assert_bitwise_equal(again, state)
  assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(again))


def test_each_that_was_kept_comes_back_by_its_step(tmp_path):
  checkpointer = checkpointing.Checkpointer(tmp_path, keep=2)
  assert checkpointer.steps() == []
  for step in (5, 7, 9):
    checkpointer.save(step, _state(seed=step), {'env_steps': 10 * step})
  assert checkpointer.steps() == [7, 9]
  step, again, counters = checkpointer.restore(7, _state())
  assert (step, counters) == (7, {'env_steps': 70})
  _assert_bitwise_equal(again, _state(seed=7))
  with pytest.raises(FileNotFoundError, match='step 5; it holds those of 7, 9'):
    checkpointer.restore(5, _state())


def test_every_kind_of_leaf_comes_back(tmp_path):
  state = {
    'half': jnp.arange(3, dtype=jnp.bfloat16),
    'flag': jnp.array(True),
    'count': np.array(2**40, np.int64),
    'nested': (jnp.zeros(2), [jnp.ones(1)]),
  }
  checkpointer = checkpointing.Checkpointer(tmp_path)
  checkpointer.save(0, state, {})
  _, again, _ = checkpointer.restore_latest(state)
  _assert_bitwise_equal(again, state)
  assert isinstance(again['count'], np.ndarray)


def test_a_typed_key_draws_the_same_again(tmp_path):
  state = {'key': jax.random.key(5)}
  checkpointer = checkpointing.Checkpointer(tmp_path)
  checkpointer.save(0, state, {})
  _, again, _ = checkpointer.restore_latest({'key': jax.random.key(0)})
  draw = lambda s: np.asarray(jax.random.normal(s['key'], (3,)))
  np.testing.assert_array_equal(draw(again), draw(state))


def test_a_donated_state_does_not_change_what_was_saved(tmp_path):
  state = {'x': jnp.arange(1000.0)}
  expected = np.array(state['x'])
  checkpointer = checkpointing.Checkpointer(tmp_path)
  checkpointer.save(0, state, {})
  add = jax.jit(lambda s: {'x': s['x'] + 1}, donate_argnums=0)
  template = add(state)
  np.testing.assert_array_equal(
    checkpointer.restore_latest(template)[1]['x'], expected
  )


def test_keeps_the_last_ones(tmp_path):
  checkpointer = checkpointing.Checkpointer(tmp_path, keep=2)
  for step in (1, 5, 9, 12):
    checkpointer.save(step, _state(step), {})
  assert sorted(os.listdir(tmp_path), key=int) == ['9', '12']
  step, state, _ = checkpointer.restore_latest(_state())
  assert step == 12
  _assert_bitwise_equal(state, _state(12))


def test_keeps_at_least_one(tmp_path):
  with pytest.raises(ValueError, match='keep is 0, expected at least 1'):
    checkpointing.Checkpointer(tmp_path, keep=0)


def test_a_step_that_is_there_stays(tmp_path):
  checkpointer = checkpointing.Checkpointer(tmp_path)
  checkpointer.save(1, _state(1), {})
  checkpointer.save(1, _state(2), {})
  _assert_bitwise_equal(checkpointer.restore_latest(_state())[1], _state(1))


def test_finds_nothing_where_nothing_was_saved(tmp_path):
  assert checkpointing.Checkpointer(tmp_path).restore_latest(_state()) is None
  nowhere = tmp_path / 'nowhere'
  assert checkpointing.Checkpointer(nowhere).restore_latest(_state()) is None
  assert not nowhere.exists()


def test_ignores_a_step_that_is_half_written(tmp_path):
  checkpointing.Checkpointer(tmp_path).save(1, _state(1), {})
  half = tmp_path / '2.orbax-checkpoint-tmp-0'
  (half / 'state').mkdir(parents=True)
  checkpointer = checkpointing.Checkpointer(tmp_path)
  assert checkpointer.restore_latest(_state())[0] == 1
  assert half.exists()  # a reader leaves it: its writer may be alive
  checkpointer.save(3, _state(3), {})
  assert not half.exists()
  assert checkpointer.restore_latest(_state())[0] == 3


def test_a_writer_that_is_killed_leaves_whole_checkpoints(tmp_path):
  program = (
    'import sys, jax.numpy as jnp\n'
    'from serl.utils import checkpointing\n'
    'checkpointer = checkpointing.Checkpointer(sys.argv[1])\n'
    'for step in range(10**6):\n'
    '  checkpointer.save(step, {"x": jnp.full(10**5, step)}, {"n": step})\n'
    '  print(step, flush=True)\n'
  )
  command = [sys.executable, '-c', program, str(tmp_path)]
  with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
    for _ in range(5):
      told = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
  checkpointer = checkpointing.Checkpointer(tmp_path)
  template = {'x': jnp.zeros(10**5, jnp.int32)}
  step, state, counters = checkpointer.restore_latest(template)
  assert step >= told
  assert counters == {'n': step}
  np.testing.assert_array_equal(state['x'], step)


def _three(folder):
  """Saves three steps; returns the files of the newest."""
  checkpointer = checkpointing.Checkpointer(folder)
  for step in (1, 2, 3):
    checkpointer.save(step, _state(step), {'env_steps': 10 * step})
  return [path for path in (folder / '3').rglob('*') if path.is_file()]


def _assert_as_saved(found):
  step, state, counters = found
  assert counters == {'env_steps': 10 * step}
  _assert_bitwise_equal(state, _state(step))


def test_no_damaged_byte_is_taken_for_what_was_saved(tmp_path):
  files = _three(tmp_path)
  rng = np.random.default_rng(0)
  older = 0
  for path in files:
    whole = path.read_bytes()
    middle = len(whole) // 2
    flips = []
    for place in rng.integers(len(whole), size=3):
      flips.append(bytearray(whole))
      flips[-1][place] ^= 1 << rng.integers(8)
    nulls = whole[:middle] + bytes(len(whole) - middle)
    for content in (*flips, b'', whole[:middle], nulls, None):
      if content is None:
        path.unlink()
      else:
        path.write_bytes(content)
      found = checkpointing.Checkpointer(tmp_path).restore_latest(_state())
      _assert_as_saved(found)
      older += found[0] == 2
      path.write_bytes(whole)
  # Orbax keeps bytes that mean nothing to what is restored: times, versions; in
  # its newer format they are most of a small checkpoint's.
  assert older > len(files)


@pytest.mark.parametrize('part', ['', 'state', 'counters'])
@pytest.mark.parametrize('left', ['nothing', 'an empty folder', 'a file'])
def test_a_step_with_a_part_missing_is_passed_over(
  tmp_path, part, left, caplog
):
  _three(tmp_path)
  folder = tmp_path / '3' / part
  shutil.rmtree(folder)
  if left == 'an empty folder':
    folder.mkdir()
  elif left == 'a file':
    folder.write_bytes(b'x')
  _assert_as_saved(
    checkpointing.Checkpointer(tmp_path).restore_latest(_state())
  )
  if part or left != 'nothing':
    (record,) = caplog.records
    assert record.levelname == 'ERROR'
    assert f'{tmp_path / "3"} is damaged: its ' in record.message
    assert 'That of step 2 is whole and used instead.' in record.message


def test_changed_counters_are_no_older_format(tmp_path):
  _three(tmp_path)
  path = tmp_path / '3' / 'counters' / 'metadata'
  record = json.loads(path.read_text())
  for changed in (
    {**record, 'counters': {'env_steps': 31}},
    {**record, 'step': 4},
    {**record, 'leaves': {}},
    {k: v for k, v in record.items() if k != 'digest'},
    [record],
    'counters',
  ):
    path.write_text(json.dumps(changed))
    checkpointer = checkpointing.Checkpointer(tmp_path)
    assert checkpointer.restore_latest(_state())[0] == 2
    with pytest.raises(checkpointing.DamagedError, match='its counters '):
      checkpointer.restore(3, _state())


def test_a_step_in_anothers_place_is_damaged(tmp_path):
  _three(tmp_path)
  shutil.copytree(tmp_path / '2', tmp_path / '7')
  checkpointer = checkpointing.Checkpointer(tmp_path)
  assert checkpointer.restore_latest(_state())[0] == 3
  with pytest.raises(checkpointing.DamagedError, match='was saved as step 2'):
    checkpointer.restore(7, _state())


def test_where_none_is_whole_all_are_named(tmp_path):
  _three(tmp_path)
  for step in (1, 2, 3):
    (tmp_path / str(step) / 'counters' / 'metadata').write_bytes(b'')
  with pytest.raises(checkpointing.DamagedError) as error:
    checkpointing.Checkpointer(tmp_path).restore_latest(_state())
  for step in (1, 2, 3):
    assert f'{tmp_path / str(step)} is damaged' in str(error.value)
  assert 'learning then begins anew' in str(error.value)


def test_what_is_damaged_is_in_no_later_steps_way(tmp_path):
  folder = tmp_path / 'checkpoints'
  _three(folder)
  shutil.rmtree(folder / '3' / 'state')
  checkpointer = checkpointing.Checkpointer(folder, keep=1)
  assert checkpointer.restore_latest(_state())[0] == 2
  # A reader moves nothing: its writer may be alive.
  assert checkpointer.steps() == [1, 2, 3]
  checkpointer.save(3, _state(3), {'env_steps': 30})
  assert checkpointer.steps() == [3]
  _assert_as_saved(checkpointer.restore_latest(_state()))
  assert (tmp_path / 'damaged' / 'checkpoints' / '3' / 'counters').is_dir()
  reasons = (tmp_path / 'damaged' / 'reasons.txt').read_text()
  assert reasons.startswith('checkpoints/3: its arrays cannot be read; set ')


def test_one_without_digests_is_read_with_a_warning(tmp_path, caplog):
  checkpointer = checkpointing.Checkpointer(tmp_path)
  checkpointer.save(1, _state(1), {})
  # As it was written before there were digests.
  path = tmp_path / '1' / 'counters' / 'metadata'
  path.write_text('{"env_steps": 10}')
  _assert_as_saved(checkpointer.restore_latest(_state()))
  assert 'has no digest' in caplog.text


def test_another_state_is_refused_also_behind_a_damaged_one(tmp_path):
  _three(tmp_path)
  (tmp_path / '3' / 'counters' / 'metadata').write_bytes(b'')
  with pytest.raises(
    checkpointing.CheckpointError, match=r'2 holds another training state'
  ) as error:
    checkpointing.Checkpointer(tmp_path).restore_latest(_state(width=5))
  assert not isinstance(error.value, checkpointing.DamagedError)


def test_refuses_another_structure_and_names_the_paths(tmp_path):
  checkpointer = checkpointing.Checkpointer(tmp_path)
  checkpointer.save(1, _state(), {})
  with pytest.raises(checkpointing.CheckpointError) as error:
    checkpointer.restore_latest(_state(width=5))
  message = str(error.value)
  assert f'{tmp_path / "1"} holds another training state' in message
  assert ".params['mlp/~/linear_0']['w']: " in message
  assert '[4, 3]' in message and '[5, 3]' in message
  assert '.key' not in message
  more = _state()._replace(params={**_state().params, 'new': jnp.zeros(1)})
  with pytest.raises(
    checkpointing.CheckpointError, match=r"\['new'\]: missing"
  ):
    checkpointer.restore_latest(more)


def test_refuses_an_empty_array(tmp_path):
  checkpointer = checkpointing.Checkpointer(tmp_path)
  with pytest.raises(ValueError, match=r"\['x'\] of the training state"):
    checkpointer.save(1, {'x': jnp.zeros((0, 3))}, {})


def test_a_full_disk_keeps_the_last_good_checkpoint():
  small, large = {'x': jnp.arange(1000.0)}, {'x': jnp.ones(2**20)}
  noise = jax.random.normal(jax.random.PRNGKey(0), large['x'].shape)
  try:
    with folders.small_disk(2**20) as disk:
      folder = disk / 'checkpoints'
      checkpointer = checkpointing.Checkpointer(folder)
      checkpointer.save(1, small, {})
      with pytest.raises(checkpointing.CheckpointError) as error:
        checkpointer.save(2, {'x': noise}, {})
      message = str(error.value)
      assert str(folder) in message
      assert 'checkpoint 2' in message
      assert 'No space left on device' in message
      assert 'MiB were free' in message
      assert 'that of step 1 is whole' in message
      assert os.listdir(folder) == ['1']
      step, state, _ = checkpointer.restore_latest(small)
      assert step == 1
      _assert_bitwise_equal(state, small)
      checkpointer.save(3, small, {})  # goes on where there is space again
      assert checkpointer.restore_latest(small)[0] == 3
  except folders.NoSmallDiskError as error:
    pytest.skip(f'cannot mount a small disk: {error}')


def test_a_folder_that_is_not_writable_is_named():
  with folders.unwritable() as folder:
    checkpointer = checkpointing.Checkpointer(folder / 'checkpoints')
    with pytest.raises(checkpointing.CheckpointError) as error:
      checkpointer.save(1, {'x': jnp.zeros(1)}, {})
  assert str(folder) in str(error.value)
  assert 'Permission denied' in str(error.value)
  assert 'there is none' in str(error.value)
