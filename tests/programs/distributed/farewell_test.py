"""Hearing that a run is over from a learner that comes and goes."""

import threading
import time

from serl.programs.distributed import farewell


class Learner:
  """Answers when it may; meanwhile whoever asks waits."""

  def __init__(self):
    self.answers = threading.Event()
    self.down = False
    self.reason = ''
    self.asked = []

  def over(self, caller: str) -> str:
    self.asked.append(caller)
    self.answers.wait(30)
    if self.down:
      raise ConnectionError('down')
    return self.reason


def _until(condition) -> None:
  deadline = time.monotonic() + 30
  while not condition():
    assert time.monotonic() < deadline, 'it did not come'
    time.sleep(0.01)


def test_waits_in_its_own_thread_and_asks_again_after_a_failure():
  learner = Learner()
  asking = farewell.Farewell(learner, 'actor_0')
  _until(lambda: learner.asked == ['actor_0'])
  assert not asking.heard
  learner.down = True
  learner.answers.set()
  _until(lambda: len(learner.asked) > 2)
  learner.down = False
  count = len(learner.asked)
  _until(lambda: len(learner.asked) > count + 1)
  assert not asking.heard
  learner.reason = 'the limit of 100 steps'
  _until(lambda: asking.heard)


def test_asks_no_more_once_closed():
  learner = Learner()
  learner.answers.set()
  asking = farewell.Farewell(learner, 'evaluator')
  _until(lambda: learner.asked)
  asking.close()
  time.sleep(0.5)
  count = len(learner.asked)
  time.sleep(0.5)
  assert len(learner.asked) == count and not asking.heard
