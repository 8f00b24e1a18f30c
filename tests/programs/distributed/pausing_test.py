"""When an actor waits for its learner, and when it does not."""

import pytest

pytest.importorskip('grpc', reason='it comes with the extra `launch`')

from serl.programs import ratio
from serl.programs.distributed import pausing
from serl.programs.distributed import service

_SLACK = ratio.slack(0)


class Clock:
  """Stands still unless it is set."""

  time = 0.0

  def __call__(self):
    return self.time


def _progress(overdue, learner_steps=0):
  return service.Progress(overdue=overdue, learner_steps=learner_steps)


def test_waits_while_more_than_the_slack_is_overdue():
  pause = pausing.Pause(1, Clock())
  assert not pause.is_due(_progress(_SLACK), 0)
  assert pause.is_due(_progress(_SLACK + 1.0), 0)
  # What is on its way to the learner counts, too.
  assert pause.is_due(_progress(_SLACK - 9.0), 10)
  assert not pause.is_due(_progress(_SLACK - 10.0), 10)


def test_a_learner_that_waits_for_steps_is_not_waited_for():
  assert not pausing.Pause(1, Clock()).is_due(_progress(None), 10**6)


def test_an_episode_may_be_ahead_however_long_it_is():
  # Else the learner would have nothing to do while one is run.
  pause = pausing.Pause(1, Clock())
  pause.note_episode(1000)
  pause.note_episode(10)
  assert not pause.is_due(_progress(1000.0), 0)
  assert pause.is_due(_progress(1001.0), 0)


def test_each_of_several_actors_has_its_slack():
  pause = pausing.Pause(3, Clock())
  assert not pause.is_due(_progress(3.0 * _SLACK), 0)
  assert pause.is_due(_progress(3.0 * _SLACK + 1), 0)


def test_a_learner_that_makes_no_round_is_not_waited_for_for_ever():
  clock = Clock()
  pause = pausing.Pause(1, clock)
  waits = lambda rounds: pause.is_due(_progress(10.0 * _SLACK, rounds), 0)
  assert waits(5)
  clock.time += 59
  assert waits(5)
  clock.time += 59
  assert waits(6)  # it goes on, slowly
  clock.time += 59
  assert waits(6)
  clock.time += 2
  assert not waits(6)
  # An episode, and it is waited for again.
  assert waits(6)
  clock.time += 61
  assert not waits(6)
