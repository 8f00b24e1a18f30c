"""Tests for counting."""

import threading

from serl.utils import counting


def test_counts_by_name():
  counter = counting.Counter()
  assert counter.increment(env_steps=3, episodes=1) == {
    'env_steps': 3,
    'episodes': 1,
  }
  counter.increment(env_steps=2)
  assert counter.get('env_steps') == 5
  assert counter.get('learner_steps') == 0


def test_restores_what_was_saved():
  counter = counting.Counter()
  counter.increment(env_steps=3)
  again = counting.Counter()
  again.increment(episodes=9)
  again.restore(counter.save())
  assert again.save() == {'env_steps': 3}


def test_what_it_returns_is_a_copy():
  counter = counting.Counter()
  counter.increment(env_steps=3)['env_steps'] = 100
  counter.save()['env_steps'] = 100
  assert counter.get('env_steps') == 3


def test_loses_no_count_between_threads():
  counter = counting.Counter()

  def count():
    for _ in range(2000):
      counter.increment(env_steps=1)

  threads = [threading.Thread(target=count) for _ in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert counter.get('env_steps') == 8000
