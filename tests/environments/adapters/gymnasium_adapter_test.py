"""Environments of gymnasium, by the conventions of this library."""

import functools

from absl.testing import absltest
import dm_env
from dm_env import test_utils
import numpy as np
import pytest

from serl import environment_loop
from serl import specs
from serl.environments import adapters
from serl.environments.adapters import gymnasium_adapter
from serl.environments.wrappers import channels_last
from serl.replay import adders
from serl.testing import fakes

gymnasium = pytest.importorskip('gymnasium')
spaces = gymnasium.spaces

_ACTION = spaces.Box(-1, 1, (2,), np.float32)
_OBSERVATION = spaces.Box(-np.inf, np.inf, (3,), np.float64)


class _Environment(gymnasium.Env):
  """Counts its steps; ends, rewards and informs as it was told."""

  def __init__(
    self,
    observation_space=_OBSERVATION,
    action_space=_ACTION,
    ends=(False, False),
    infos=(),
    reward=1.0,
    observation=None,
  ):
    self.observation_space = observation_space
    self.action_space = action_space
    self._ends = ends
    self._infos = infos
    self._reward = reward
    self._observation = observation
    self.actions = []
    self.seeds = []
    self._step = 0

  def _observe(self):
    if self._observation is not None:
      return self._observation
    return self.observation_space.sample()

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    if self._observation is None:
      self.observation_space.seed(int(self.np_random.integers(2**31)))
    self.seeds.append(seed)
    self._step = 0
    return self._observe(), {}

  def step(self, action):
    self.actions.append(action)
    info = self._infos[self._step] if self._step < len(self._infos) else {}
    self._step += 1
    is_end = self._step == 3
    terminated, truncated = (end and is_end for end in self._ends)
    return self._observe(), self._reward, terminated, truncated, info


class GymnasiumTest(test_utils.EnvironmentTestMixin, absltest.TestCase):
  def make_object_under_test(self):
    return adapters.from_gymnasium(_Environment(ends=(True, False)))


def _play(environment, count=3):
  """Returns the timesteps of an episode's beginning and `count` steps."""
  zeros = np.zeros(environment.action_spec().shape, np.float32)
  return [environment.reset(), *(environment.step(zeros) for _ in range(count))]


@pytest.mark.parametrize(
  'terminated, truncated, discount',
  [(True, False, 0), (False, True, 1), (True, True, 0)],
)
def test_a_time_limit_is_no_termination(terminated, truncated, discount):
  environment = adapters.from_gymnasium(
    _Environment(ends=(terminated, truncated))
  )
  _, first, second, last = _play(environment)
  assert first.mid() and second.mid() and last.last()
  assert (first.discount, last.discount) == (1, discount)
  assert environment.step(np.zeros(2, np.float32)).first()


def test_a_limit_of_steps_truncates():
  environment = adapters.from_gymnasium(_Environment(), max_episode_steps=2)
  *_, last = _play(environment, 2)
  assert last.last() and last.discount == 1


def test_takes_and_gives_floats_of_32_bits():
  space = spaces.Dict(
    {
      'state': spaces.Box(-1, 1, (3,), np.float64),
      'count': spaces.Box(0, 9, (2,), np.int64),
      'on': spaces.Box(0, 1, (1,), np.bool_),
      'ram': spaces.Box(0, 255, (4,), np.uint8),
      'half': spaces.Box(-np.inf, 1, (1,), np.float32),
      'type': spaces.Box(-3.4e38, 3.4e38, (1,), np.float32),
      'arm': spaces.Dict({'cameras': spaces.Box(0, 255, (4, 4, 3), np.uint8)}),
    }
  )
  low, high = np.full(2, -2.0), np.array([0.1, 4.0])
  inner = _Environment(
    space,
    spaces.Box(low, high, dtype=np.float64),
    observation={
      'state': np.zeros(3),
      'count': [1, 2],
      'on': np.array([True]),
      'ram': np.zeros(4, np.uint8),
      'half': np.zeros(1),
      'type': np.zeros(1),
      'arm': {'cameras': np.zeros((4, 4, 3), np.uint8)},
    },
  )
  environment = adapters.from_gymnasium(inner)
  spec = specs.make_environment_spec(environment)
  leaves = specs.flatten(spec.observations)
  image = leaves.pop('arm/cameras')
  assert specs.is_image(image)
  assert {leaf.dtype for leaf in leaves.values()} == {np.dtype(np.float32)}
  assert {leaf.dtype for leaf in spec[1:]} == {np.dtype(np.float32)}
  assert (leaves['ram'].minimum == 0).all()
  assert (leaves['ram'].maximum == 255).all()
  assert leaves['half'].maximum == 1
  assert not isinstance(leaves['type'], specs.BoundedArray)
  assert (spec.actions.minimum, spec.actions.maximum) == (-1, 1)
  loop = environment_loop.EnvironmentLoop(environment, fakes.FakeActor(spec))
  loop.run_episode(iter([False] * 4 + [True]).__next__)
  # In the environment's own units and dtype, and never beyond its bounds.
  environment.reset()
  environment.step(np.ones(2, np.float32))
  np.testing.assert_array_equal(inner.actions[-1], [0.1, 4.0])
  assert inner.actions[-1].dtype == np.float64


def test_actions_keep_the_shape_of_their_space():
  inner = _Environment(action_space=spaces.Box(-1, 1, (2, 3), np.float32))
  environment = adapters.from_gymnasium(inner)
  assert environment.action_spec().shape == (6,)
  environment.reset()
  environment.step(np.linspace(-1, 1, 6))
  assert inner.actions[-1].shape == (2, 3)
  with pytest.raises(ValueError, match='NaN or infinity'):
    environment.step(np.full(6, np.nan))


@pytest.mark.parametrize(
  'space',
  [
    spaces.Discrete(4),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiBinary(3),
    spaces.Text(5),
    spaces.Sequence(spaces.Box(-1, 1, (2,))),
    spaces.Tuple([spaces.Box(-1, 1, (2,))]),
    spaces.Graph(spaces.Box(-1, 1, (2,)), None),
    None,
  ],
  ids=lambda space: type(space).__name__,
)
def test_other_spaces_are_named(space):
  kind = type(space).__name__
  observation = spaces.Dict({'state': _OBSERVATION})
  observation.spaces['arm'] = spaces.Dict({'state': _OBSERVATION})
  observation.spaces['arm'].spaces['task'] = space
  told = f'The observation arm/task is of the space {kind}, .* expected Box'
  with pytest.raises(ValueError, match=told):
    adapters.from_gymnasium(_Environment(observation))
  with pytest.raises(ValueError, match=f'observation value is .* {kind}'):
    adapters.from_gymnasium(_Environment(space))
  with pytest.raises(ValueError, match=f'The action is of the space {kind}, '):
    adapters.from_gymnasium(_Environment(action_space=space))
  # What is left out may be anything.
  environment = adapters.from_gymnasium(
    _Environment(
      observation,
      observation={
        'state': np.zeros(3),
        'arm': {'state': np.zeros(3), 'task': object()},
      },
    ),
    leave_out='arm/task',
  )
  (first, *_) = _play(environment)
  assert first.observation.keys() == environment.observation_spec().keys()
  assert first.observation['arm'].keys() == {'state'}


@pytest.mark.parametrize(
  'space, told',
  [
    (spaces.Box(-np.inf, np.inf, (2,), np.float32), r'\[0, 1\] have no bounds'),
    (
      spaces.Box(np.float32([-1, -1]), np.float32([1, np.inf])),
      r'\[1\] have no bounds',
    ),
    (spaces.Box(-1e38, 1, (2,), np.float32), r'\[0, 1\] have no bounds'),
    (spaces.Box(-1e10, 1e10, (1,), np.float64), r'\[0\] have no bounds'),
    (spaces.Box(0, 3, (2,), np.int32), 'expected one Box of real'),
    (spaces.Box(0, 255, (2,), np.uint8), 'expected one Box of real'),
    (spaces.Dict({'arm': _ACTION}), 'expected one Box of real'),
    (spaces.Box(-1, 1, (0,), np.float32), 'expected one number or more'),
  ],
)
def test_actions_are_bounded_numbers(space, told):
  with pytest.raises(ValueError, match=f'The action is of the space .*{told}'):
    adapters.from_gymnasium(_Environment(action_space=space))


@pytest.mark.parametrize('key', gymnasium_adapter.SUCCESS_KEYS)
@pytest.mark.parametrize('true', [True, 1.0, np.bool_(True), np.ones(1)])
def test_success_is_that_of_the_info(key, true):
  infos = [{key: False}, {key: true}, {key: 0.0}]
  environment = adapters.from_gymnasium(
    _Environment(ends=(False, True), infos=infos)
  )
  finished = []
  adder = adders.EpisodeAdder(
    [finished.append], adders.step_extras_of(environment)
  )
  first, *later = _play(environment, 0)
  assert environment.episode_metrics() == {}  # it was not told yet
  adder.add_first(first)
  told = []
  for _ in range(3):
    action = np.zeros(2, np.float32)
    adder.add(action, environment.step(action))
    told.append(environment.episode_metrics()['success'])
  assert told == [0, 1, 1]
  np.testing.assert_array_equal(finished[0].extras['success'], [0, 1, 0])
  environment.reset()
  assert environment.episode_metrics() == {'success': 0.0}
  del later


@pytest.mark.parametrize(
  'infos', [({}, {}, {'is_success': True}), ({}, {'is_success': True})]
)
def test_success_that_is_told_late_is_a_column_from_the_next_episode_on(infos):
  environment = adapters.from_gymnasium(
    _Environment(ends=(False, True), infos=infos)
  )
  finished = []
  adder = adders.EpisodeAdder(
    [finished.append], adders.step_extras_of(environment)
  )
  told = []
  for _ in range(2):
    adder.add_first(environment.reset())
    for _ in range(3):
      action = np.zeros(2, np.float32)
      adder.add(action, environment.step(action))
    told.append(environment.episode_metrics())
  assert told == [{'success': 1.0}, {'success': 1.0}]
  assert finished[0].extras == {}
  assert finished[1].extras['success'].sum() == 1


def test_the_key_of_success_may_be_another():
  infos = [{'is_success': True, 'solved': False}] * 3
  environment = adapters.from_gymnasium(
    _Environment(infos=infos), success_keys=['solved']
  )
  _play(environment)
  assert environment.episode_metrics() == {'success': 0.0}


@pytest.mark.parametrize('keys', ['solved', ['solved']])
def test_a_key_of_success_that_is_not_there_is_warned_of_once(keys, caplog):
  environment = adapters.from_gymnasium(
    _Environment(ends=(False, True), infos=[{}, {}, {'time': 1}]),
    success_keys=keys,
  )
  for _ in range(2):
    _play(environment)
  (record,) = caplog.records
  told = "info has the keys ['time'], expected one of success_keys ['solved']"
  assert told in record.getMessage()
  assert environment.episode_metrics() == {'success': 0.0}
  assert environment.step_extras() == {'success': 0}


def test_tells_no_success_where_the_info_does_not():
  environment = adapters.from_gymnasium(_Environment())
  _play(environment)
  assert environment.episode_metrics() == {}
  assert environment.step_extras() == {}


def test_success_is_one_value():
  infos = [{'success': np.array([True, False])}]
  environment = adapters.from_gymnasium(_Environment(infos=infos))
  with pytest.raises(ValueError, match=r"info\['success'\] is array"):
    _play(environment)


def test_the_seed_is_that_of_the_first_reset():
  def observe(seed):
    inner = _Environment()
    environment = adapters.from_gymnasium(inner, seed)
    starts = [environment.reset().observation for _ in range(2)]
    assert inner.seeds == [seed, None]
    return starts

  np.testing.assert_array_equal(observe(1), observe(1))
  assert (observe(1)[0] != observe(2)[0]).any()
  assert (observe(1)[0] != observe(1)[1]).any()


@pytest.mark.parametrize(
  'observation, told',
  [
    ({'state': np.zeros(4)}, r'observation/state: float32 \[4\], expected'),
    ({'state': None}, r'observation/state: NoneType, expected float32 \[3\]'),
    ({'state': 'home'}, r'observation/state: str, expected float32 \[3\]'),
    ({}, r'observation/state: missing, expected float32 \[3\]'),
    (
      {'state': np.zeros(3), 'force': np.zeros(1)},
      r'observation/force: float32 \[1\], which no spec is of',
    ),
    (np.zeros(3), r'observation/state: missing'),
  ],
)
def test_observations_are_of_their_space(observation, told):
  space = spaces.Dict({'state': spaces.Box(-1, 1, (3,), np.float32)})
  inner = _Environment(space, observation=observation)
  environment = adapters.from_gymnasium(inner)
  spec = specs.make_environment_spec(environment)
  loop = environment_loop.EnvironmentLoop(environment, fakes.FakeActor(spec))
  with pytest.raises(ValueError, match=told):
    loop.run_episode()
  assert not inner.actions


@pytest.mark.parametrize('reward', [np.ones(1), np.float64(1), 1, True])
def test_a_reward_is_one_number(reward):
  environment = adapters.from_gymnasium(_Environment(reward=reward))
  _, step = _play(environment, 1)
  environment.reward_spec().validate(step.reward)


@pytest.mark.parametrize('reward', [None, 'good', np.ones(2)])
def test_another_reward_is_refused(reward):
  environment = adapters.from_gymnasium(_Environment(reward=reward))
  spec = specs.make_environment_spec(environment)
  loop = environment_loop.EnvironmentLoop(environment, fakes.FakeActor(spec))
  with pytest.raises(ValueError, match=r'the reward .* expected one number'):
    loop.run_episode()


def test_images_with_their_channels_first_are_named_and_mended():
  space = spaces.Dict({'pixels': spaces.Box(0, 255, (3, 8, 8), np.uint8)})
  environment = adapters.from_gymnasium(_Environment(space))
  with pytest.raises(ValueError, match=r'pixels .* put the wrapper Channels'):
    specs.check_images(environment.observation_spec())
  mended = channels_last.ChannelsLast(environment)
  specs.check_images(mended.observation_spec())
  assert mended.reset().observation['pixels'].shape == (8, 8, 3)


class _OldEnvironment(_Environment):
  """Has the API that gym had once."""

  def reset(self, *, seed=None, options=None):
    observation, _ = super().reset(seed=seed)
    return observation

  def step(self, action):
    observation, reward, terminated, _, info = super().step(action)
    return observation, reward, terminated, info


def test_the_older_api_is_refused(monkeypatch):
  environment = adapters.from_gymnasium(_OldEnvironment())
  with pytest.raises(ValueError, match=r'gave ndarray; expected \(observation'):
    environment.reset()
  monkeypatch.setattr(_OldEnvironment, 'reset', _Environment.reset)
  environment = adapters.from_gymnasium(_OldEnvironment())
  environment.reset()
  told = r'gave \(ndarray, float, bool, dict\); expected .*terminated, trunc'
  with pytest.raises(ValueError, match=told):
    environment.step(np.zeros(2))


def test_only_environments_of_gymnasium_are_taken():
  with pytest.raises(TypeError, match=r'FakeEnvironment; expected a gymnasium'):
    adapters.from_gymnasium(fakes.FakeEnvironment(fakes.make_state_spec()))
  several = gymnasium.make_vec('Pendulum-v1', num_envs=2)
  with pytest.raises(TypeError, match=r'is several, .* RunConfig.num_actors'):
    adapters.from_gymnasium(several)
  with pytest.raises(ValueError, match=r"has no environment 'Nothing-v0'"):
    adapters.from_gymnasium('Nothing-v0')
  with pytest.raises(ValueError, match=r'make_kwargs is .* expected none'):
    adapters.from_gymnasium(_Environment(), make_kwargs={'x': 1})
  with pytest.raises(ValueError, match=r"leave_out has 'a'; expected one of"):
    adapters.from_gymnasium(_Environment(), leave_out=['a'])


def test_an_id_makes_what_is_registered():
  make = functools.partial(
    adapters.from_gymnasium,
    'Pendulum-v1',
    action_repeat=4,
    max_episode_steps=20,
    make_kwargs={'g': 5.0},
  )
  environment = make(3)
  timesteps = _play(environment, 5)
  assert [t.step_type for t in timesteps[1:]] == (
    [dm_env.StepType.MID] * 4 + [dm_env.StepType.LAST]
  )
  assert timesteps[-1].discount == 1
  assert environment.control_timestep == pytest.approx(4 / 30)
  again = _play(make(3), 5)
  np.testing.assert_array_equal(
    timesteps[-1].observation, again[-1].observation
  )
  assert not hasattr(environment, 'render')
  environment.close()


class _Filmed(_Environment):
  metadata = {'render_modes': ['rgb_array'], 'render_fps': 5}  # noqa: RUF012
  render_mode = 'rgb_array'

  def render(self):
    return [np.full((4, 6, 3), 7, np.uint8), np.zeros((4, 6, 3), np.uint8)]


def test_is_filmed_where_it_makes_pictures():
  environment = adapters.from_gymnasium(_Filmed())
  environment.reset()
  assert environment.control_timestep == 0.2
  picture = environment.render('picture', height=480, width=640)
  np.testing.assert_array_equal(picture, np.full((4, 6, 3), 7))
  assert not hasattr(adapters.from_gymnasium(_Environment()), 'render')
  assert specs.steps_per_second(adapters.from_gymnasium(_Environment())) is None
