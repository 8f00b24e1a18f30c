"""Both ends of the learner's calls, over a real server."""

from typing import NamedTuple

import pytest

pytest.importorskip('reverb', reason='Reverb has wheels for Python 3.10 alone')

import jax
import jax.numpy as jnp
import numpy as np
import reverb

from serl import core
from serl import specs
from serl.demos import log as log_lib
from serl.programs import ratio
from serl.programs import run_folder
from serl.programs import training
from serl.programs.distributed import keys
from serl.programs.distributed import learner as learner_lib
from serl.programs.distributed import process
from serl.programs.distributed import rpc
from serl.programs.distributed import service
from serl.programs.distributed import shipping
from serl.replay import tables
from serl.testing import fakes
from tests.programs.distributed import fake_run


class _Params(NamedTuple):
  encoder: dict
  scale: np.ndarray


_PARAMS = _Params(
  {
    'w': np.arange(6, dtype=np.float32).reshape(2, 3),
    'h': jnp.ones(5, jnp.bfloat16),
  },
  np.float32(2.5),
)


class _Training:
  """Publishes what it is given."""

  def __init__(self, variables):
    self._variables = variables
    self.learner_steps = variables.learner_steps

  def overdue(self, env_steps):
    asked = ratio.UpdateRatio(1.0, start_step=20, updates_per_round=2)
    return asked.overdue(env_steps, 0)

  def get_variables(self, after):
    known = self._variables.learner_steps == after
    return None if known else self._variables


@pytest.fixture
def served(tmp_path):
  """A learner that does not train, its replay, and a handle of it."""
  config = fake_run.make_config(tmp_path / 'run')
  server = reverb.Server(
    tables.make_tables(config.builder.make_tables(), fake_run.SPEC)
  )
  replay = reverb.Client(f'localhost:{server.port}')
  learner = learner_lib.Learner(config, replay, process.Clock(0.0, 0.0))
  keys.make(tmp_path / 'key.pem')
  key = keys.read(tmp_path / 'key.pem')
  rpc_server = rpc.Server(service.methods(learner), '127.0.0.1:0', key)
  client = rpc.Client(f'127.0.0.1:{rpc_server.port}', key)
  remote = service.RemoteLearner(
    client, lambda: jax.tree.map(jnp.zeros_like, _PARAMS)
  )
  yield config, learner, remote, replay
  rpc_server.stop()
  server.stop()


def test_parameters_arrive_as_they_were(served):
  _, learner, remote, _ = served
  assert remote.get_variables(-1) is None  # before there are any
  variables = core.Variables(_PARAMS, 7, 0.5, 90)
  learner._training = _Training(variables)
  found = remote.get_variables(-1)
  assert found[1:] == variables[1:]
  assert jax.tree.structure(found.params) == jax.tree.structure(_PARAMS)
  for leaf, expected in zip(
    jax.tree.leaves(found.params), jax.tree.leaves(_PARAMS)
  ):
    assert leaf.dtype == expected.dtype and leaf.shape == expected.shape
    # JAX takes its own bfloat16, beside the one of TensorFlow.
    np.testing.assert_array_equal(jax.device_put(leaf), expected)
  assert remote.get_variables(7) is None


def test_parameters_of_another_agent_are_refused_with_what_differs(served):
  _, learner, remote, _ = served
  params = {'w': np.zeros((2, 4), np.float32)}
  learner._training = _Training(core.Variables(params, 1, 0.0))
  with pytest.raises(ValueError, match='those of another agent') as raised:
    remote.get_variables(-1)
  assert "['w']: ((2, 4), 'float32'), not expected" in str(raised.value)
  assert '.scale: missing' in str(raised.value)


def test_params_like_are_those_that_a_training_publishes(tmp_path):
  config = fake_run.make_config(tmp_path)
  builder = config.builder
  networks = builder.make_networks(fake_run.SPEC)
  state = builder.make_algorithm(networks).init(jax.random.PRNGKey(0))
  expected = builder.policy_params(state)
  like = training.policy_params_like(config)
  assert jax.tree.structure(like) == jax.tree.structure(expected)
  assert jax.tree.map(lambda leaf: leaf.shape, like) == jax.tree.map(
    lambda leaf: leaf.shape, expected
  )


def test_each_episode_is_inserted_once_and_in_order(served):
  _, _, remote, replay = served
  episode = fakes.make_episode(fake_run.SPEC, 10)
  assert remote.inserted_episodes('actor_0') == 0
  assert remote.insert_episode('actor_0', 1, episode) == 0  # not its turn
  assert remote.insert_episode('actor_0', 0, episode) == 1
  assert remote.insert_episode('actor_0', 0, episode) == 1  # sent again
  assert remote.insert_episode('actor_1', 0, episode) == 1
  assert remote.inserted_episodes('actor_0') == 1
  assert tables.states(replay)['replay'] == (20, 20)


def test_what_is_passed_over_counts_as_taken(served):
  _, learner, remote, replay = served
  episode = fakes.make_episode(fake_run.SPEC, 10)
  assert remote.pass_over('actor_0', 3, 7, 50) == 0  # not its turn
  assert remote.pass_over('actor_0', 0, 7, 50) == 7
  assert remote.pass_over('actor_0', 0, 7, 50) == 7  # sent again
  assert remote.insert_episode('actor_0', 7, episode) == 8
  assert learner._env_steps(tables.states(replay)) == 60


@pytest.mark.parametrize(
  'change, expected',
  [
    ({'discount': np.zeros(3, np.float32)}, 'discount'),
    ({'action': np.zeros((10, 7), np.float32)}, 'action'),
    ({'observation': {'x': np.zeros((11, 2), np.float32)}}, 'observation'),
  ],
)
def test_an_episode_of_another_spec_is_refused(served, change, expected):
  _, _, remote, replay = served
  episode = fakes.make_episode(fake_run.SPEC, 10)._replace(**change)
  with pytest.raises(ValueError, match=expected):
    remote.insert_episode('actor_0', 0, episode)
  assert remote.inserted_episodes('actor_0') == 0
  assert tables.states(replay)['replay'].size == 0


def test_an_insert_that_fails_amid_is_not_sent_again(served, monkeypatch):
  _, learner, remote, _ = served

  def fail(*_):
    raise ConnectionError('the replay is gone')

  monkeypatch.setattr(learner_lib.writing, 'insert', fail)
  episode = fakes.make_episode(fake_run.SPEC, 10)
  with pytest.raises(RuntimeError, match='the replay is gone'):
    remote.insert_episode('actor_0', 0, episode)
  monkeypatch.undo()
  with pytest.raises(RuntimeError, match='the replay is gone'):
    remote.insert_episode('actor_0', 0, episode)
  assert remote.inserted_episodes('actor_0') == 0
  assert isinstance(learner._failure, ConnectionError)  # which ends the run


def test_extras_that_are_no_numbers_are_left_in_the_log(served):
  _, _, remote, _ = served
  names = np.array(['policy'] * 10)
  episode = fakes.make_episode(fake_run.SPEC, 10)._replace(extras={'by': names})
  assert remote.insert_episode('actor_0', 0, episode) == 1


def test_another_agent_or_environment_is_told_with_what_differs(
  served, tmp_path
):
  config, _, remote, _ = served
  own = run_folder.what_acts(config, fake_run.SPEC)
  assert remote.differences(own) == []
  other = fake_run.make_config(tmp_path, learning_rate=0.5, success=0.7)
  spec = fake_run.SPEC._replace(
    actions=specs.BoundedArray((3,), np.float32, -0.5, 0.5, 'action')
  )
  lines = '\n'.join(remote.differences(run_folder.what_acts(other, spec)))
  assert 'critic_learning_rate: 0.001 at the learner, 0.5 now' in lines
  assert 'environment/arguments/1: 0.0 at the learner, 0.7 now' in lines
  assert 'actions//maximum: 1.0 at the learner, 0.5 now' in lines


def test_the_end_is_told_to_each_that_asks(served):
  _, _, remote, _ = served
  assert remote.progress('actor_0').over == ''
  sweep = {'episodes': 3, 'episode_return': 5.25}
  remote.evaluated({**sweep, 'successes': 2.0, 'success': 2 / 3})
  assert remote.progress('actor_0').over == ''
  remote.evaluated({**sweep, 'successes': 3.0, 'success': 1.0})
  reason = remote.progress('evaluator').over
  assert reason == '3 of 3 evaluation episodes succeeded, mean return 5.25'


def test_an_actor_learns_how_far_its_learner_is(served):
  _, learner, remote, _ = served
  assert remote.progress('actor_0') == service.Progress(starting='it starts')
  learner._training = _Training(core.Variables(_PARAMS, 7, 0.5))
  remote.pass_over('actor_1', 0, 2, 25)
  remote.insert_episode('actor_0', 0, fakes.make_episode(fake_run.SPEC, 10))
  assert remote.progress('actor_0') == service.Progress(
    wanted=1, learner_steps=7
  )
  learner._is_filled = True
  # 35 steps, of which the first 20 owe no updates; the next round is due at 2.
  assert remote.progress('actor_1') == service.Progress(
    overdue=13.0, wanted=2, learner_steps=7
  )


def test_steps_of_a_person_are_demonstrations(served, tmp_path):
  _, _, remote, replay = served
  log = log_lib.EpisodeLog(tmp_path / 'log', fake_run.SPEC)
  by_person = np.uint8((0, 1, 1, 0, 0, 1, 0, 0, 0, 0))
  episode = fakes.make_episode(fake_run.SPEC)
  log.append(episode._replace(extras={'intervened': by_person}))
  log.append(episode)  # by a launch in which nobody could
  shipper = shipping.Shipper(log, remote, 'actor_0', 100)
  shipper._send_all()
  sizes = {name: s.size for name, s in tables.states(replay).items()}
  assert sizes == {'replay': 20, 'demonstrations': 3}
