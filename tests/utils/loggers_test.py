"""Tests for loggers."""

import json
import math
import struct
import sys
import time
import types

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto import event_pb2

from serl.testing import folders
from serl.utils import loggers


class _Records:
  def __init__(self):
    self.written = []
    self.closed = False

  def write(self, metrics):
    self.written.append(metrics)

  def close(self):
    self.closed = True


def _events(content):
  """Parses TensorBoard's records: length, checksum, event, checksum."""
  while content:
    (length,) = struct.unpack('<Q', content[:8])
    yield event_pb2.Event.FromString(content[12 : 12 + length])
    content = content[16 + length :]


def _strict(line):
  def refuse(constant):
    raise ValueError(f'{constant} is no JSON')

  return json.loads(line, parse_constant=refuse)


def test_writes_a_line_of_valid_json_at_once(tmp_path):
  logger = loggers.JsonLinesLogger(tmp_path / 'metrics' / 'learner.jsonl')
  logger.write(
    {
      'a': jnp.float32(0.5),
      'b': np.int64(2**40),
      'c': np.array([1.5]),
      'd': True,
      'e': math.nan,
      'f': -np.inf,
    }
  )
  (line,) = (tmp_path / 'metrics' / 'learner.jsonl').read_text().splitlines()
  record = _strict(line)
  assert abs(record.pop('time') - time.time()) < 3600
  assert record.pop('elapsed') >= 0
  assert record == {
    'a': 0.5,
    'b': 2**40,
    'c': 1.5,
    'd': 1.0,
    'e': 'NaN',
    'f': '-Infinity',
  }


def test_reads_what_was_written(tmp_path):
  logger = loggers.make_logger(tmp_path, 'learner')
  logger.write({'learner_steps': 1, 'loss': math.nan})
  logger.write({'learner_steps': 2, 'loss': math.inf})
  logger.close()
  records = loggers.read_metrics(tmp_path, 'learner')
  assert [r['learner_steps'] for r in records] == [1, 2]
  assert math.isnan(records[0]['loss'])
  assert records[1]['loss'] == math.inf
  assert loggers.read_metrics(tmp_path, 'evaluator') == []


@pytest.mark.parametrize('value', [np.zeros(2), 'text', None, np.zeros(0)])
def test_refuses_what_is_no_number(tmp_path, value):
  logger = loggers.JsonLinesLogger(tmp_path / 'a.jsonl')
  with pytest.raises(ValueError, match="metric 'bad' is"):
    logger.write({'good': 1, 'bad': value})
  assert not (tmp_path / 'a.jsonl').read_text()


def test_goes_on_after_a_torn_line(tmp_path):
  path = loggers.metrics_path(tmp_path, 'learner')
  logger = loggers.JsonLinesLogger(path)
  logger.write({'x': 1})
  logger.close()
  with open(path, 'a') as file:
    file.write('{"x": 2, "ti')  # a process killed while it wrote
  assert [r['x'] for r in loggers.read_metrics(tmp_path, 'learner')] == [1]
  logger = loggers.JsonLinesLogger(path)
  logger.write({'x': 3})
  logger.close()
  assert [r['x'] for r in loggers.read_metrics(tmp_path, 'learner')] == [1, 3]


@pytest.mark.parametrize(
  'tear',
  [
    lambda whole, at: whole[:at],
    lambda whole, at: whole[:at] + bytes(len(whole) - at),
    lambda whole, at: whole[:at] + b'\xff\x80\x0a\x00[[[[' + whole[at + 8 :],
    lambda whole, at: b'7\n[]\nnull\n"text"\n{"elapsed": 1e999}\n' + whole,
    lambda whole, at: b'',
  ],
)
def test_torn_lines_are_skipped_and_counted(tmp_path, tear, caplog):
  path = loggers.metrics_path(tmp_path, 'learner')
  logger = loggers.JsonLinesLogger(path)
  for x in range(3):
    logger.write({'x': x})
  logger.close()
  whole = path.read_bytes()
  for at in range(0, len(whole), 7):
    path.write_bytes(tear(whole, at))
    tail = loggers.MetricsTail(path)
    found = [r['x'] for r in tail.poll() if 'x' in r]
    assert found == [x for x in range(3) if x in found]
    assert (f'{tail.skipped} of' in caplog.text) == bool(tail.skipped)
    assert 0 <= loggers.last_elapsed(tmp_path) < 60
    # It is written on behind what is torn.
    logger = loggers.make_logger(tmp_path, 'learner')
    logger.write({'x': 3})
    logger.close()
    assert loggers.read_metrics(tmp_path, 'learner')[-1]['x'] == 3
    caplog.clear()


def test_time_goes_on_where_any_node_of_the_run_ended(tmp_path):
  first = loggers.JsonLinesLogger(
    loggers.metrics_path(tmp_path, 'learner'), origin=time.time() - 500
  )
  first.write({'x': 1})
  first.close()
  again = loggers.make_logger(tmp_path, 'actor_0')
  again.write({'x': 1})
  again.close()
  (record,) = loggers.read_metrics(tmp_path, 'actor_0')
  assert 500 <= record['elapsed'] < 600


def test_nodes_share_an_origin_of_time(tmp_path):
  origin = time.time() - 100
  for node in ('learner', 'actor_0'):
    logger = loggers.make_logger(tmp_path, node, origin=origin)
    logger.write({'x': 1})
    logger.close()
    (record,) = loggers.read_metrics(tmp_path, node)
    assert record['time'] - record['elapsed'] == pytest.approx(origin)


def test_a_tail_gives_each_record_once_and_waits_for_whole_lines(tmp_path):
  path = tmp_path / 'a.jsonl'
  tail = loggers.MetricsTail(path)
  assert tail.poll() == []
  with open(path, 'w') as file:
    file.write('{"x": 1}\n{"x": 2}\n{"x"')
    file.flush()
    assert tail.poll() == [{'x': 1}, {'x': 2}]
    assert tail.poll() == []
    file.write(': 3}\n')
    file.flush()
    assert tail.poll() == [{'x': 3}]


def test_tensorboard_gets_every_metric_at_its_step(tmp_path):
  logger = loggers.TensorBoardLogger(tmp_path, 'env_steps')
  logger.write({'env_steps': 7, 'episode_return': 2.5})
  logger.close()
  (path,) = tmp_path.glob('events.*')
  points = [
    (event.step, value.tag, value.simple_value)
    for event in _events(path.read_bytes())
    for value in event.summary.value
  ]
  assert points == [(7, 'episode_return', 2.5)]


def test_wandb_gets_a_run_for_each_node_in_the_group_of_the_run(
  tmp_path, monkeypatch
):
  started, run = {}, _Records()
  run.log, run.finish = run.write, run.close
  fake = types.ModuleType('wandb')
  fake.init = lambda **kwargs: started.update(kwargs) or run
  monkeypatch.setitem(sys.modules, 'wandb', fake)
  logger = loggers.make_logger(tmp_path / 'cube', 'learner', wandb=True)
  logger.write({'loss': jnp.float32(2)})
  logger.close()
  assert started['group'] == 'cube'
  assert started['name'] == 'cube/learner'
  assert run.written == [{'loss': 2.0}]
  assert run.closed


def test_says_that_wandb_is_missing(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'wandb', None)
  with pytest.raises(ImportError, match='needs the package wandb'):
    loggers.make_logger(tmp_path, 'learner', wandb=True)


def test_dispatches_to_all():
  records = [_Records(), _Records()]
  logger = loggers.Dispatcher(records)
  logger.write({'x': 1})
  logger.close()
  assert all(r.written == [{'x': 1}] and r.closed for r in records)


def test_passes_one_record_in_a_period_and_the_last(monkeypatch):
  now = [0.0]
  monkeypatch.setattr(loggers.time, 'monotonic', lambda: now[0])
  records = _Records()
  logger = loggers.TimeLimited(records, seconds=1.0)
  for i in range(26):
    now[0] = i / 10
    logger.write({'x': i})
  assert [r['x'] for r in records.written] == [0, 10, 20]
  logger.close()
  assert [r['x'] for r in records.written] == [0, 10, 20, 25]
  assert records.closed


def test_a_folder_that_is_not_writable_is_named():
  with (
    folders.unwritable() as folder,
    pytest.raises(PermissionError, match='metrics'),
  ):
    loggers.make_logger(folder, 'learner')
