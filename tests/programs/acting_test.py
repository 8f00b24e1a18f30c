"""What acts in a run: at random, by the policy, by a person."""

import socket

import numpy as np
import pytest

from serl import environment_loop
from serl import specs
from serl.programs import acting
from serl.testing import fakes
from serl.utils import counting
from tests.programs.distributed import fake_run


class _Variables:
  """Parameters that never change."""

  def __init__(self, config):
    networks = config.builder.make_networks(fake_run.SPEC)
    algorithm = config.builder.make_algorithm(networks)
    state = algorithm.init(np.zeros(2, np.uint32))
    self.params = config.builder.policy_params(state)

  def update(self):
    pass

  def metrics(self):
    return {'params_age': 0.5}


def _run(config, episodes, counter=None, **kwargs):
  """Returns the metrics and the episodes."""
  environment = fakes.FakeEnvironment(fake_run.SPEC)
  counter = counter or counting.Counter()
  stored = []
  actor = acting.make_actor(
    config, environment, _Variables(config), [stored.append], counter, **kwargs
  )
  loop = environment_loop.EnvironmentLoop(environment, actor, counter)
  metrics = [loop.run_episode() for _ in range(episodes)]
  acting.close(actor)
  return metrics, stored


def test_explores_first_and_acts_by_the_policy_then(tmp_path):
  metrics, _ = _run(fake_run.make_config(tmp_path), 3)
  # 20 random steps are two episodes.
  assert ['params_age' in found for found in metrics] == [False, False, True]


def test_actors_divide_the_random_steps(tmp_path):
  metrics, _ = _run(fake_run.make_config(tmp_path), 2, num_actors=2)
  assert ['params_age' in found for found in metrics] == [False, True]


def test_explores_something_else_after_a_resume(tmp_path):
  config = fake_run.make_config(tmp_path)
  (_, fresh), (_, again) = _run(config, 1), _run(config, 1)
  np.testing.assert_array_equal(fresh[0].action, again[0].action)
  counter = counting.Counter()
  counter.increment(env_steps=10, episodes=1)
  _, resumed = _run(config, 1, counter)
  assert (fresh[0].action != resumed[0].action).any()


def test_a_page_shows_what_the_policy_sees(tmp_path):
  with socket.create_server(('127.0.0.1', 0)) as taken:
    port = taken.getsockname()[1]
  config = fake_run.make_config(tmp_path, live_port=port - 1)
  image = specs.BoundedArray((8, 8, 3), np.uint8, 0, 255)
  inner = fakes.FakeEnvironment(
    fake_run.SPEC._replace(observations={'wrist_1': image})
  )
  environment = acting.shown(inner, config, index=1)
  assert environment.url == f'http://127.0.0.1:{port}/'
  environment.close()
  assert acting.shown(inner, fake_run.make_config(tmp_path)) is inner


def test_what_cannot_be_shown_is_closed(tmp_path):
  image = specs.BoundedArray((8, 8, 3), np.uint8, 0, 255)
  environment = fakes.FakeEnvironment(
    fake_run.SPEC._replace(observations={'wrist_1': image})
  )
  closed = []
  environment.close = lambda: closed.append(True)
  with socket.create_server(('127.0.0.1', 0)) as taken:
    port = taken.getsockname()[1]
    with pytest.raises(OSError):
      acting.shown(environment, fake_run.make_config(tmp_path, live_port=port))
  assert closed


def test_a_person_may_overrule_both_and_is_told_apart(tmp_path):
  config = fake_run.make_config(tmp_path, person=True)
  metrics, stored = _run(config, 3)
  assert (
    'intervened' not in _run(fake_run.make_config(tmp_path), 1)[1][0].extras
  )
  for found, episode in zip(metrics, stored):
    assert found['intervened'] == 0.4
    tagged = episode.extras['intervened']
    np.testing.assert_array_equal(tagged, [0, 1, 1, 0, 0] * 2)
    of_person = (episode.action == np.float32([0.125, 0, 0])).all(axis=1)
    np.testing.assert_array_equal(of_person, tagged)


def test_faults_are_shown_as_a_status_and_on_the_page():
  said, notes = [], []

  class Page(fakes.FakeEnvironment):
    def note(self, text):
      notes.append(text)

  display = acting.FaultDisplay(
    Page(fakes.make_state_spec()), lambda text, since: said.append(text)
  )
  display(environment_loop.Faults('no\n answer', 2, 1e9))
  display(None)
  assert said == ['fault 2: no answer', '']
  assert notes[0].startswith('fault 2: no answer\nsince ') and notes[1] == ''
  # Where there is no page it is the status alone.
  display = acting.FaultDisplay(
    fakes.FakeEnvironment(fakes.make_state_spec()),
    lambda text, since: said.append(since),
  )
  display(environment_loop.Faults('no answer', 2, 1e9))
  assert said[-1] == 1e9
