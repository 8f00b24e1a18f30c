"""Polling a learner that comes and goes."""

import threading
import time

import pytest

pytest.importorskip('grpc', reason='it comes with the extra `launch`')

from serl.programs import run_folder
from serl.programs.distributed import poller
from serl.programs.distributed import rpc
from serl.programs.distributed import service


class Learner:
  """Answers when it may; meanwhile a call waits."""

  def __init__(self):
    self.answers = threading.Event()
    self.error = None
    self.reason = ''
    self.starting = ''
    self.agent = 'SAC'
    self.asked = 0

  def differences(self, described):
    self._answer()
    return [] if described == self.agent else ['agent: another']

  def progress(self, caller):
    assert caller == 'actor_0'
    self._answer()
    return service.Progress(self.reason, self.starting, learner_steps=7)

  def _answer(self):
    self.asked += 1
    self.answers.wait(30)
    if self.error is not None:
      raise self.error


@pytest.fixture
def learner():
  learner = Learner()
  yield learner
  learner.answers.set()


@pytest.fixture
def make_poller(learner, monkeypatch):
  monkeypatch.setattr(poller, '_PERIOD_S', 0.01)
  made = []

  def make(agent='SAC'):
    made.append(poller.LearnerPoller(learner, 'lab:5300', 'actor_0', agent))
    return made[-1]

  yield make
  for each in made:
    each.close()


def _until(condition) -> None:
  deadline = time.monotonic() + 30
  while not condition():
    assert time.monotonic() < deadline, 'it did not come'
    time.sleep(0.01)


def test_polls_in_its_own_thread_and_goes_on_after_a_failure(
  learner, make_poller
):
  polling = make_poller()
  _until(lambda: learner.asked)
  assert polling.waits_for() == 'waiting for the learner at lab:5300'
  learner.answers.set()
  _until(lambda: not polling.waits_for())
  learner.error = rpc.CallError('down')
  _until(polling.waits_for)
  assert not polling.over
  learner.error = None
  _until(lambda: not polling.waits_for())
  learner.reason = 'the limit of 100 steps'
  _until(lambda: polling.over)


def test_a_learner_that_compiles_is_waited_for(learner, make_poller):
  learner.answers.set()
  learner.starting = 'compiling'
  polling = make_poller()
  _until(lambda: polling.progress is not None)
  assert polling.waits_for() == (
    'waiting for the learner at lab:5300: compiling'
  )
  learner.starting = ''
  _until(lambda: not polling.waits_for())
  assert polling.progress.learner_steps == 7
  # One that comes back compiles again.
  learner.error = rpc.CallError('down')
  _until(lambda: polling.progress is None)
  learner.starting, learner.error = 'compiling', None
  _until(lambda: 'compiling' in polling.waits_for())


def test_the_learner_of_another_run_is_refused_with_what_differs(
  learner, make_poller
):
  learner.answers.set()
  polling = make_poller(agent='BC')

  def refused() -> bool:
    try:
      return polling.waits_for() is None
    except run_folder.AnotherRunError as error:
      assert 'at lab:5300 is that of another run' in str(error)
      assert 'agent: another' in str(error)
      return True

  _until(refused)


def test_a_learner_that_comes_back_is_compared_again(learner, make_poller):
  learner.answers.set()
  polling = make_poller()
  _until(lambda: not polling.waits_for())
  learner.error = rpc.CallError('down')
  _until(polling.waits_for)
  learner.agent, learner.error = 'BC', None

  def refused() -> bool:
    try:
      polling.waits_for()
    except run_folder.AnotherRunError:
      return True
    return False

  _until(refused)


def test_another_key_is_named(learner, make_poller):
  learner.answers.set()
  learner.error = rpc.OtherKeyError('lab:5300 holds another key')
  polling = make_poller()
  _until(lambda: 'another key' in polling.waits_for())


def test_polls_no_more_once_closed(learner, make_poller):
  learner.answers.set()
  polling = make_poller()
  _until(lambda: learner.asked)
  polling.close()
  time.sleep(0.3)
  asked = learner.asked
  time.sleep(0.3)
  assert learner.asked == asked and not polling.over
