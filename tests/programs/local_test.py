import dataclasses
import functools
import os
import signal
import threading
import time

import jax
import numpy as np
import pytest
import tree

from serl import environment_loop
from serl import programs
from serl import specs
from serl.agents import builder as agent_builder
from serl.agents import with_tables
from serl.agents.sac import builder as sac_builder
from serl.demos import files
from serl.demos import log as log_lib
from serl.programs import run_folder
from serl.programs import training
from serl.programs import watchdog
from serl.teleop import devices
from serl.testing import fakes
from serl.utils import checkpointing
from serl.utils import loggers
from tests.programs.distributed import fake_run


def _config(folder, **overrides):
  return fake_run.make_config(
    folder, max_env_steps=60, steps_per_second=None, **overrides
  )


def test_ends_when_an_evaluation_succeeded(tmp_path):
  summary = programs.run_local(_config(tmp_path / 'run', success=1.0))
  assert summary.successes == 3
  assert '3 of 3 evaluation episodes succeeded' in str(summary)
  assert summary.curve.exists()
  # The fake cannot be filmed: said in a line, the rest of it is in a file.
  assert summary.video is None
  assert 'Video:           none: ' in str(summary)
  assert not (tmp_path / 'run' / 'evaluation.mp4').exists()
  log = (tmp_path / 'run' / 'logs' / 'video.txt').read_text()
  assert log.startswith('Traceback')


def test_its_episodes_carry_the_rate_of_the_environment(tmp_path):
  folder = tmp_path / 'run'
  programs.run_local(_config(folder, evaluate=False))
  for path in files.paths(folder / 'episodes' / 'actor_0'):
    # Of its own clock: at which rate it is stepped is another matter.
    assert files.read(path)[1][files.RATE] == 20


def _in_64_bits(leaf):
  return leaf.replace(dtype=np.float64)


_SPEC_64 = specs.EnvironmentSpec(
  *tree.map_structure(_in_64_bits, fake_run.SPEC)
)


def _make_64(seed):
  # It refuses actions of another dtype.
  return fakes.FakeEnvironment(
    _SPEC_64, episode_length=10, seed=seed, success=0.0
  )


def test_an_environment_may_have_floats_of_64_bits(tmp_path):
  folder = tmp_path / 'run'
  config = dataclasses.replace(
    _config(folder),
    make_environment=_make_64,
    demonstrations=[fakes.make_episode(_SPEC_64)],
  )
  summary = programs.run_local(config)
  assert (summary.env_steps, summary.learner_steps) == (60, 20)
  log = log_lib.EpisodeLog(folder / 'episodes' / 'actor_0', _SPEC_64)
  # Random ones and those of the policy.
  assert {e.action.dtype for e in log.episodes()} == {np.dtype(np.float64)}


def _make_other(seed):
  environment = fakes.FakeEnvironment(fake_run.SPEC, seed=seed)
  observations = {
    **fake_run.SPEC.observations,
    'tcp_pos': specs.Array((4,), np.float32),
  }
  environment.observation_spec = lambda: observations
  return environment


def test_specs_that_are_not_so_end_the_run_before_its_first_step(tmp_path):
  config = dataclasses.replace(
    _config(tmp_path / 'run'),
    make_environment=_make_other,
    builder=sac_builder.SACBuilder(),
  )
  told = r'tcp_pos: float32 \[3\], expected float32 \[4\]'
  with pytest.raises(ValueError, match=told):
    programs.run_local(config)


def test_tables_of_any_kind_are_learned_from_and_filled_again(tmp_path):
  config = _config(tmp_path / 'run', evaluate=False, person=True)
  (replay, _) = config.builder.make_tables()
  replay = dataclasses.replace(
    replay, sampler=agent_builder.Prioritised(), n_step=3
  )
  shown = agent_builder.TableSpec('a', 500, 1, 0.25, 'good', n_step=2)
  poor = dataclasses.replace(
    shown, name='b', source='poor', takes_interventions=False
  )
  episodes = config.demonstrations
  config = dataclasses.replace(
    config,
    builder=with_tables.WithTables(
      config.builder.builder, [replay, shown, poor]
    ),
    demonstrations={'good': episodes[:1], 'poor': episodes},
  )
  summary = programs.run_local(config)
  assert summary.learner_steps > 0
  sizes = lambda: {
    name: loggers.read_metrics(config.folder, 'learner')[-1][f'{name}_size']
    for name in ('replay', 'a', 'b')
  }
  first = sizes()
  # A person takes two of five steps.
  assert first == {'replay': 60, 'a': 10 + 24, 'b': 30}
  again = dataclasses.replace(config, max_env_steps=100)
  assert programs.run_local(again).learner_steps > summary.learner_steps
  assert sizes() == {'replay': 100, 'a': 10 + 40, 'b': 30}


def test_a_page_needs_something_to_show(tmp_path):
  with pytest.raises(ValueError, match='There is nothing to see'):
    programs.run_local(_config(tmp_path / 'run', live_port=8090))


def test_tasks_take_turns(tmp_path):
  config = fake_run.make_alternating(
    tmp_path / 'run', max_env_steps=60, steps_per_second=None
  )
  summaries = programs.run_local(config)
  assert list(summaries) == ['there', 'back']
  # The limit of one is the end of both; each has learned of its own steps.
  assert [s.env_steps for s in summaries.values()] == [60, 50]
  assert [s.learner_steps for s in summaries.values()] == [20, 15]
  for task, summary in summaries.items():
    assert summary.run_dir == config.folder / task
    assert summary.reason == 'the limit of 60 environment steps'
  config = fake_run.make_alternating(
    tmp_path / 'other', success=1.0, steps_per_second=None
  )
  for summary in programs.run_local(config).values():
    assert '3 of 3 evaluation episodes succeeded' in str(summary)


def test_runs_that_alternate_are_checked(tmp_path):
  run = _config(tmp_path / 'run')
  with pytest.raises(ValueError, match='expected one or more in folders'):
    programs.AlternatingRuns(
      run_dir=tmp_path,
      runs={'there': run, 'back': run},
      make_environment=fake_run.take_turns,
    )
  with pytest.raises(ValueError, match=r'expected num_actors of 1 in each'):
    programs.AlternatingRuns(
      run_dir=tmp_path,
      runs={'there': run, 'back': _config(tmp_path / 'two', num_actors=2)},
      make_environment=fake_run.take_turns,
    )


def test_runs_that_alternate_need_turns(tmp_path):
  config = dataclasses.replace(
    fake_run.make_alternating(tmp_path / 'run'),
    make_environment=functools.partial(fake_run.make_environment, 'none', 0.0),
  )
  with pytest.raises(ValueError, match='has no next_task; expected'):
    programs.run_local(config)


def test_keeps_the_ratio_of_updates_to_steps(tmp_path):
  config = _config(tmp_path / 'run', evaluate=False, updates_per_step=1.5)
  summary = programs.run_local(config)
  assert summary.env_steps == 60
  # 2 updates a round; training begins after 20 steps.
  assert summary.learner_steps == 1.5 * (60 - 20) / 2


def test_goes_on_bit_for_bit_and_with_all_episodes(tmp_path):
  folder = tmp_path / 'run'
  programs.run_local(_config(folder, evaluate=False))
  before = checkpointing.Checkpointer(folder / 'checkpoints')
  config = _config(folder, evaluate=False)
  networks = config.builder.make_networks(fake_run.SPEC)
  template = config.builder.make_algorithm(networks).init(jax.random.PRNGKey(9))
  step, state, _ = before.restore_latest(template)
  resumed = training.Training(config, fake_run.SPEC, iter([]), _Nowhere())
  assert resumed.learner_steps == step
  for ours, theirs in zip(
    jax.tree.leaves(resumed.learner_state), jax.tree.leaves(state)
  ):
    np.testing.assert_array_equal(ours, theirs)
  log = log_lib.EpisodeLog(folder / 'episodes' / 'actor_0', fake_run.SPEC)
  assert log.steps == 60
  more = fake_run.make_config(
    folder, max_env_steps=90, steps_per_second=None, evaluate=False
  )
  summary = programs.run_local(more)
  assert (summary.env_steps, summary.learner_steps) == (90, 35)
  # The replay was filled again with the 60 steps of the first launch.
  assert loggers.read_metrics(folder, 'learner')[-1]['replay_size'] == 90


def _intervened(folder):
  """Returns where a person acted, by the log, [N] bool, and the actions."""
  log = log_lib.EpisodeLog(folder / 'episodes' / 'actor_0', fake_run.SPEC)
  episodes = list(log.episodes())
  return (
    np.concatenate([e.extras['intervened'] for e in episodes]).astype(bool),
    np.concatenate([e.action for e in episodes]),
  )


def test_a_person_overrules_and_demonstrates(tmp_path):
  folder = tmp_path / 'run'
  programs.run_local(_config(folder, evaluate=False, person=True))
  by_person, actions = _intervened(folder)
  np.testing.assert_array_equal(by_person[:5], [0, 1, 1, 0, 0])
  assert by_person.sum() == 24
  # Also while it explores; and nobody else acts just so.
  of_person = np.float32([0.125, 0.0, 0.0])
  np.testing.assert_array_equal((actions == of_person).all(axis=1), by_person)
  metrics = loggers.read_metrics(folder, 'actor_0')
  assert {(m['intervened'], m['interventions']) for m in metrics} == {(0.4, 2)}
  # Beside the 3 demonstrations of 10 steps.
  last = loggers.read_metrics(folder, 'learner')[-1]
  assert (last['replay_size'], last['demonstrations_size']) == (60, 54)


def test_what_a_person_demonstrated_is_there_when_it_goes_on(tmp_path):
  folder = tmp_path / 'run'
  programs.run_local(_config(folder, evaluate=False, person=True))
  # Without a person now: it is the same run.
  more = fake_run.make_config(
    folder, max_env_steps=80, steps_per_second=None, evaluate=False
  )
  programs.run_local(more)
  last = loggers.read_metrics(folder, 'learner')[-1]
  assert (last['replay_size'], last['demonstrations_size']) == (80, 54)


def test_demonstrations_of_another_spec_are_refused(tmp_path):
  episode = fakes.make_episode(fakes.make_image_spec())
  config = _config(tmp_path / 'run')
  object.__setattr__(config, 'demonstrations', [episode])
  with pytest.raises(ValueError, match='image'):
    programs.run_local(config)


def test_a_run_that_fails_closes_its_loggers(tmp_path):
  def writers():
    # Each open event file has a thread, which at the interpreter's end is in
    # the way of the error's last line.
    return [
      thread
      for thread in threading.enumerate()
      if type(thread).__module__.startswith('tensorboardX')
    ]

  seen = []

  def intervene(actor, environment):
    seen.extend(writers())
    raise devices.DeviceError('no terminal')

  before = writers()
  config = _config(tmp_path / 'run', make_intervention=intervene)
  with pytest.raises(devices.DeviceError):
    programs.run_local(config)
  assert len(seen) > len(before)
  assert writers() == before


class _Nowhere:
  def write(self, metrics):
    pass

  def close(self):
    pass


def test_an_interrupted_run_keeps_the_update_under_way(tmp_path, monkeypatch):
  step = training.Training.step

  def interrupted(self, env_steps, sizes):
    step(self, env_steps, sizes)
    if self.learner_steps == 5:
      signal.raise_signal(signal.SIGINT)

  monkeypatch.setattr(training.Training, 'step', interrupted)
  before = signal.getsignal(signal.SIGINT)
  summary = programs.run_local(_config(tmp_path / 'run'))
  assert summary.reason.startswith('interrupted')
  assert summary.learner_steps == 5
  checkpoints = checkpointing.Checkpointer(tmp_path / 'run' / 'checkpoints')
  assert max(checkpoints.steps()) == 5
  assert signal.getsignal(signal.SIGINT) is before


def test_a_damaged_episode_is_set_aside(tmp_path, caplog):
  config = _config(tmp_path / 'run', evaluate=False)
  programs.run_local(config)
  episodes = config.folder / 'episodes' / 'actor_0'
  (episodes / '000001.npz').write_bytes(b'')
  content = bytearray((episodes / '000004.npz').read_bytes())
  content[len(content) // 2] ^= 1
  (episodes / '000004.npz').write_bytes(content)
  summary = programs.run_local(dataclasses.replace(config, max_env_steps=80))
  assert summary.damaged_episodes == 2
  assert '2 episodes, set aside in' in str(summary)
  assert sorted(os.listdir(config.folder / 'damaged/episodes/actor_0')) == [
    '000001.npz',
    '000004.npz',
  ]
  assert 'DAMAGED: episodes/actor_0/000004.npz: checksum' in caplog.text
  # Four of six are left; the next ones come after the last.
  assert summary.env_steps == 80
  assert len(files.find(episodes)) == 8
  last = loggers.read_metrics(config.folder, 'learner')[-1]
  assert last['replay_size'] == 80


def test_only_what_the_table_holds_is_inserted_again(tmp_path, monkeypatch):
  read = log_lib.EpisodeLog.read
  numbers = []

  def noted(self, number):
    numbers.append(number)
    return read(self, number)

  monkeypatch.setattr(log_lib.EpisodeLog, 'read', noted)
  config = _config(tmp_path / 'run', evaluate=False)
  agent = dataclasses.replace(config.builder.builder.config, replay_size=25)
  builder = dataclasses.replace(
    config.builder, builder=sac_builder.SACBuilder(agent)
  )
  config = dataclasses.replace(config, builder=builder)
  programs.run_local(config)
  summary = programs.run_local(dataclasses.replace(config, max_env_steps=80))
  assert numbers == [3, 4, 5]  # of six with ten steps each
  assert summary.env_steps == 80
  last = loggers.read_metrics(config.folder, 'learner')[-1]
  assert last['replay_size'] == 25


def _with_demonstrations(config, folder):
  log = log_lib.EpisodeLog(folder, fake_run.SPEC)
  for seed in range(3):
    log.append(fakes.make_episode(fake_run.SPEC, seed=seed))
  (folder / '000001.npz').write_bytes(b'PK')
  return dataclasses.replace(config, demonstrations=folder)


def test_damaged_demonstrations_are_refused_but_for_the_runs_own(tmp_path):
  config = _config(tmp_path / 'run', evaluate=False)
  elsewhere = _with_demonstrations(config, tmp_path / 'demos')
  with pytest.raises(files.TornFileError, match=r'000001\.npz'):
    programs.run_local(elsewhere)
  assert len(files.find(tmp_path / 'demos')) == 3
  config = _config(tmp_path / 'other', evaluate=False)
  own = _with_demonstrations(config, config.folder / 'demonstrations')
  programs.run_local(own)
  assert (config.folder / 'damaged/demonstrations/000001.npz').exists()
  last = loggers.read_metrics(config.folder, 'learner')[-1]
  assert last['demonstrations_size'] == 20


def test_a_resumed_run_begins_elsewhere(tmp_path):
  seeds, closed = [], []

  class Environment(fakes.FakeEnvironment):
    def __init__(self, seed):
      super().__init__(fake_run.SPEC, 10, seed, success=0.0)
      seeds.append(seed)
      self._seed = seed

    def close(self):
      closed.append(self._seed)

  config = _config(tmp_path / 'run')
  config = dataclasses.replace(config, make_environment=Environment)
  programs.run_local(config)
  programs.run_local(dataclasses.replace(config, max_env_steps=80))
  # After six episodes; the others are to evaluate in.
  assert [seed for seed in seeds if seed < 10_000] == [0, 6]
  assert sorted(closed) == sorted(seeds)


def test_two_runs_at_once_in_a_folder_are_refused(tmp_path):
  config = _config(tmp_path / 'run')
  programs.run_local(config)
  longer = dataclasses.replace(config, max_env_steps=80)
  refused = pytest.raises(run_folder.AnotherRunError, match='in use by another')
  with run_folder.used(config.folder, 'learner'), refused:
    programs.run_local(longer)
  assert programs.run_local(longer).env_steps == 80


def test_an_interrupted_run_is_neither_evaluated_nor_filmed(
  tmp_path, monkeypatch
):
  made = []

  def make_environment(seed):
    made.append(seed)
    return fake_run.make_environment('none', 0.0, seed)

  step = training.Training.step

  def interrupted(self, env_steps, sizes):
    step(self, env_steps, sizes)
    signal.raise_signal(signal.SIGINT)

  monkeypatch.setattr(training.Training, 'step', interrupted)
  config = _config(tmp_path / 'run', evaluation_period_s=1000.0)
  config = dataclasses.replace(config, make_environment=make_environment)
  summary = programs.run_local(config)
  assert summary.reason.startswith('interrupted')
  assert summary.successes is None
  assert 'Video:           none: the run was interrupted' in str(summary)
  assert summary.curve.exists()
  # To act in and for sweeps amid the run: none for its report.
  assert made == [0, 10_000]
  assert loggers.read_metrics(config.folder, 'evaluator') == []


def test_minutes_count_from_the_first_update_and_are_kept_amid_an_episode(
  tmp_path,
):
  class Slow(fakes.FakeEnvironment):
    """The first episode is short, the others take a hundred seconds."""

    def __init__(self, seed):
      super().__init__(fake_run.SPEC, 0, seed)

    def reset(self):
      self._episode_length = 10_000 if self._episode_length else 40
      return super().reset()

    def step(self, action):
      time.sleep(0.01)
      return super().step(action)

  config = fake_run.make_config(
    tmp_path / 'run',
    steps_per_second=None,
    evaluate=False,
    time_limit_s=1.0,
  )
  config = dataclasses.replace(config, make_environment=Slow)
  summary = programs.run_local(config)
  assert summary.reason == 'the limit of 0.0166667 min'
  assert (summary.env_steps, summary.learner_steps) == (40, 10)
  assert summary.is_success


def test_a_run_that_learns_nothing_is_no_success(tmp_path):
  config = fake_run.make_config(
    tmp_path / 'run', max_env_steps=10, steps_per_second=None, evaluate=False
  )
  summary = programs.run_local(config)
  assert summary.learner_steps == 0
  assert not summary.is_success
  assert (
    str(summary)
    .splitlines()[-1]
    .startswith('Not a success: nothing was learned')
  )


def test_a_launch_without_an_update_ends(tmp_path):
  config = fake_run.make_config(
    tmp_path / 'run',
    random_steps=10**6,
    steps_per_second=None,
    evaluate=False,
    updates_per_step=1e-6,
    time_limit_s=0.5,
    start_limit_s=0.5,
  )
  summary = programs.run_local(config)
  assert summary.reason == 'no update within 0.00833333 min'
  assert not summary.is_success


def test_what_was_learned_is_kept_where_the_robot_fails_for_ever(tmp_path):
  config = _config(
    tmp_path / 'run', fault='dead', fault_limit_s=0.2, evaluate=False
  )
  config = dataclasses.replace(config, max_env_steps=1000)
  with pytest.raises(environment_loop.FaultLimitError, match='has\nno power'):
    programs.run_local(config)
  records = loggers.read_metrics(config.folder, 'actor_0')
  assert records[-1]['fault'] == 'the arm has\nno power'
  # 15 episodes of 10 steps, of which the first 20 steps owe no updates.
  checkpoints = checkpointing.Checkpointer(config.folder / 'checkpoints')
  assert max(checkpoints.steps()) == 65


@pytest.mark.parametrize('call', ['step', 'reset'])
def test_what_was_learned_is_kept_where_the_environment_hangs(tmp_path, call):
  config = _config(
    tmp_path / 'run',
    fault=call,
    step_limit_s=1.0,
    reset_limit_s=1.0,
    evaluate=False,
  )
  config = dataclasses.replace(config, max_env_steps=1000)
  with pytest.raises(
    watchdog.HungError, match=rf'actor_0: environment.{call} has not returned'
  ):
    programs.run_local(config)
  checkpoints = checkpointing.Checkpointer(config.folder / 'checkpoints')
  assert max(checkpoints.steps()) == 65
