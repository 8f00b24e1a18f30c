import dataclasses
import json
import time

import pytest

pytest.importorskip(
  'launchpad', reason='Launchpad has wheels for Python 3.10 alone'
)

from rich import console

from serl.programs import run_folder
from serl.programs.distributed import process
from serl.programs.distributed import program as program_lib
from serl.programs.distributed import table
from serl.utils import damaged
from serl.utils import loggers
from tests.programs.distributed import fake_run


@pytest.fixture
def config(tmp_path):
  (tmp_path / 'logs').mkdir()
  return fake_run.make_config(tmp_path, max_env_steps=1000)


def _write(config, node, *records):
  logger = loggers.JsonLinesLogger(loggers.metrics_path(config.folder, node))
  for record in records:
    logger.write(record)
  logger.close()


def _nodes(config, *names):
  return [program_lib.Node(config.folder, name) for name in names]


def _rows(config):
  progress = table.Progress(
    config, _nodes(config, 'learner', 'actor_0', 'evaluator')
  )
  progress.poll()
  return dict(progress.rows())


def test_nothing_written_yet_shows_as_such(config):
  rows = _rows(config)
  assert rows['environment steps'] == '0'
  assert rows['return'] == rows['evaluation'] == '-'
  assert 'by hand' not in rows and 'rescues' not in rows


def test_shows_a_robot_that_fails_and_a_learner_that_diverges(config):
  episode = {'episode_return': 1.0, 'steps_per_second': 50.0}
  fault = {'faults': 2, 'fault': 'no power', 'fault_s': 3.0}
  _write(config, 'actor_0', {'env_steps': 10, **episode})
  _write(config, 'actor_0', {'env_steps': 10, **fault})
  diverged = {'divergence': 'the learner diverges: critic_value 9'}
  _write(config, 'learner', {'learner_steps': 5, 'env_steps': 10, **diverged})
  process.Status(config.folder, 'actor_0').say('fault 2: no power', 1e9)
  rows = _rows(config)
  assert rows['actor_0'].startswith('fault 2: no power, since ')
  assert rows['WARNING'] == diverged['divergence']
  # A fault is no episode.
  assert rows['return'] == '1.0 over 1 episodes'
  assert rows['environment steps'] == '10'


def test_the_text_of_a_fault_is_no_markup(config):
  process.Status(config.folder, 'actor_0').say('fault 1: [Errno 5] [/b] gone')
  progress = table.Progress(config, _nodes(config, 'actor_0'))
  shown = console.Console(width=200, record=True)
  shown.print(progress.render())
  assert 'fault 1: [Errno 5] [/b] gone' in shown.export_text()


def test_the_time_that_is_left_counts_from_the_first_update(config):
  config = dataclasses.replace(config, time_limit_s=600.0)
  progress = table.Progress(config, _nodes(config, 'learner'))
  progress._began -= 300
  progress.poll()
  assert dict(progress.rows())['time left'] == 'at most 00:10:00'
  _write(config, 'learner', {'learner_steps': 5, 'env_steps': 10})
  progress.poll()
  progress._first_update -= 60
  assert '00:08:5' in dict(progress.rows())['time left']


def test_the_steps_that_are_left_count_with_all_that_actors_wait(config):
  progress = table.Progress(config, _nodes(config, 'actor_0'))
  progress._began -= 100
  now = time.time()
  path = loggers.metrics_path(config.folder, 'actor_0')
  path.parent.mkdir()
  with path.open('w') as file:
    for since, steps in ((-60, 100), (-30, 200), (0, 400)):
      # Within an episode it is faster than with the pauses between them.
      record = {'time': now + since, 'env_steps': steps, 'episode_return': 1.0}
      file.write(json.dumps({**record, 'steps_per_second': 1000.0}) + '\n')
  progress.poll()
  # 600 of 1,000 steps at 300 a minute.
  assert dict(progress.rows())['time left'] == 'at most 00:02:00'


def test_shows_the_newest_of_each_node(config):
  episode = {'steps_per_second': 50.0, 'params_age': 0.25, 'params_step': 30}
  _write(
    config,
    'actor_0',
    {
      'env_steps': 10,
      'episode_return': 1.0,
      'success': 0.0,
      'intervened': 0.5,
      'rescues': 0.0,
      **episode,
    },
    {
      'env_steps': 20,
      'episode_return': 2.0,
      'success': 1.0,
      'intervened': 0.0,
      'rescues': 1.0,
      **episode,
    },
  )
  _write(
    config,
    'learner',
    {
      'learner_steps': 1234,
      'env_steps': 10,
      'updates_per_step': 0.987,
      'replay_size': 20,
      'demonstrations_size': 30,
    },
  )
  sweep = {'learner_steps': 1200, 'episodes': 3, 'successes': 2}
  _write(config, 'evaluator', {**sweep, 'episode_return': 5.0})
  rows = _rows(config)
  assert rows['environment steps'] == '20'
  assert rows['learner steps'] == '1,234'
  assert rows['updates per step, asked'] == '1.00'
  assert rows['updates per step, achieved'] == '0.99'
  assert rows['return'] == '1.5 over 2 episodes'
  assert rows['success'] == '50% over 2 episodes'
  assert rows['by hand'] == '25% of the steps over 2 episodes'
  assert rows['rescues'] == '50% over 2 episodes'
  assert rows['evaluation'] == '2 of 3, return 5.0, at learner step 1,200'
  assert rows["age of the actor's parameters"] == '0.2 s'
  assert rows['transitions, replay'] == '20'
  assert rows['transitions, demonstrations'] == '30'


def test_shows_what_a_node_waits_for(config):
  status = process.Status(config.folder, 'actor_0')
  status.say('waiting for the learner at robot:5001')
  said = _rows(config)['actor_0']
  assert said.startswith('waiting for the learner at robot:5001, since ')
  status.say('')
  assert 'actor_0' not in _rows(config)
  status.say('waiting for the learner at robot:5001')
  process.clear_status(config.folder, 'actor_0')
  assert 'actor_0' not in _rows(config)


def test_a_task_without_success_is_told_by_its_return(config):
  episode = {'steps_per_second': 50.0, 'env_steps': 10, 'episode_return': 2.0}
  _write(config, 'actor_0', episode)
  sweep = {'learner_steps': 1200, 'episodes': 3, 'episode_return': 5.0}
  _write(config, 'evaluator', sweep)
  rows = _rows(config)
  assert rows['return'] == '2.0 over 1 episodes'
  assert rows['success'] == 'none defined by the task'
  assert rows['evaluation'] == (
    'no success defined, return 5.0, at learner step 1,200'
  )


def test_line_and_table_say_the_same(config):
  progress = table.Progress(config, _nodes(config, 'learner'))
  shown = console.Console(record=True, width=100)
  shown.print(progress.render())
  text = shown.export_text()
  for label, value in progress.rows():
    assert label in text
    assert f'{label} {value}' in progress.line()


def test_what_was_set_aside_is_counted_and_told_once(config):
  assert 'damaged episodes, set aside' not in _rows(config)
  folder = run_folder.episodes(config.folder, 'actor_0')
  folder.mkdir(parents=True)
  progress = table.Progress(config, _nodes(config, 'actor_0'))
  for number in range(2):
    path = folder / f'{number:06d}.npz'
    path.write_bytes(b'')
    damaged.set_aside(path, config.folder, f'{path}: torn;\n replace it')
    (line,) = progress.poll()
    assert line.startswith(f'episodes/actor_0/{path.name}: torn; replace it; ')
    assert progress.poll() == []
  assert _rows(config)['damaged episodes, set aside'] == '2'


def test_torn_records_and_states_are_passed_over(config):
  episode = {'steps_per_second': 50.0, 'env_steps': 10, 'episode_return': 2.0}
  _write(config, 'actor_0', episode, episode)
  path = loggers.metrics_path(config.folder, 'actor_0')
  whole = path.read_bytes()
  # Keys of the record that is left are lost in one of these.
  for content in (whole[:-20], whole[20:], whole.replace(b'env_s', b'inv_s')):
    path.write_bytes(content)
    assert _rows(config)['return'].startswith('2.0 over ')
  for content in (b'', bytes(9), b'\xff\n', b'x\ny', b'nan\ntext'):
    process.status_path(config.folder, 'learner').write_bytes(content)
    assert 'learner' not in _rows(config)
