"""The actor's node beside a real learner and a real replay, in one process."""

import dataclasses
import threading
import time

import pytest

pytest.importorskip('reverb', reason='Reverb has wheels for Python 3.10 alone')

import reverb

from serl.programs import ratio
from serl.programs import run_folder
from serl.programs import training
from serl.programs.distributed import actor as actor_lib
from serl.programs.distributed import learner as learner_lib
from serl.programs.distributed import process
from serl.replay import tables
from serl.testing import fakes
from serl.utils import loggers
from tests.programs.distributed import fake_run

_CLOCK = process.Clock(0.0, 0.0)


class _Environment(fakes.FakeEnvironment):
  """Counts the resets of all, and may be an arm."""

  resets = 0
  real_time = False

  def __init__(self, seed):
    super().__init__(fake_run.SPEC, 10, seed)

  def reset(self):
    type(self).resets += 1
    return super().reset()


class _Arm(_Environment):
  resets = 0
  real_time = True


@pytest.fixture
def stop(monkeypatch):
  """The event by which Launchpad stops nodes."""
  stop = threading.Event()
  for node in (actor_lib, learner_lib):
    monkeypatch.setattr(node.lp, 'stop_event', lambda: stop)
  yield stop
  stop.set()


def _run(config, stop):
  """Runs learner and actor to the run's end."""
  run_folder.claim(config, fake_run.SPEC)
  (config.folder / 'logs').mkdir()
  server = reverb.Server(
    tables.make_tables(config.builder.make_tables(), fake_run.SPEC)
  )
  replay = reverb.Client(f'localhost:{server.port}')
  learner = learner_lib.Learner(config, replay, _CLOCK)
  trains = threading.Thread(target=learner.run)
  trains.start()
  try:
    actor_lib.Actor(
      {'': process.Served(config, learner, 'here')},
      config.make_environment,
      config.folder,
      0,
      _CLOCK,
    ).run()
  finally:
    trains.join(60)
    stop.set()
    trains.join()
    server.stop()


def _config(folder, environment, **overrides):
  config = fake_run.make_config(
    folder,
    steps_per_second=None,
    max_env_steps=250,
    evaluate=False,
    log_period_s=0.01,
    environment_spec=fake_run.SPEC,
    **overrides,
  )
  environment.resets = 0
  return dataclasses.replace(config, make_environment=environment)


def test_acts_once_the_learner_has_compiled_and_keeps_its_pace(
  tmp_path, stop, monkeypatch
):
  compile_round = training.Training.compile
  resets = []

  def compile_slowly(self):
    compile_round(self)
    time.sleep(1.0)
    resets.append(_Environment.resets)

  monkeypatch.setattr(training.Training, 'compile', compile_slowly)
  monkeypatch.setattr(ratio, '_SLACK', 50)
  # What actors that wait are ahead by is made up for, however long it takes.
  monkeypatch.setattr(learner_lib, '_CATCH_UP_S', 0.0)
  config = _config(tmp_path / 'run', _Environment, updates_per_step=4.0)
  _run(config, stop)
  assert resets == [0]
  records = loggers.read_metrics(config.folder, 'learner')
  asked = training.make_ratio(config)
  overdue = [asked.overdue(r['env_steps'], r['learner_steps']) for r in records]
  # An episode that is run, and one that is on its way.
  assert max(overdue) <= 50 + 20
  # 2 updates a round; what is taken beyond the limit is owed none.
  assert records[-1]['learner_steps'] == 4.0 * (250 - 20) / 2
  assert records[-1]['env_steps'] <= 250 + 20


def test_an_arm_waits_for_no_updates(tmp_path, stop, monkeypatch):
  monkeypatch.setattr(ratio, '_SLACK', 50)
  monkeypatch.setattr(learner_lib, '_CATCH_UP_S', 0.0)
  # Each step owes more of them than there is time for.
  config = _config(tmp_path / 'run', _Arm, updates_per_step=1e4)
  too_late = threading.Timer(100, stop.set)
  too_late.start()
  _run(config, stop)
  too_late.cancel()
  assert _Arm.resets >= 25
