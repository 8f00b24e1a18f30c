"""An environment that is not as specified is refused before its first step."""

import collections

import dm_env
import numpy as np
import pytest

from serl import conformance
from serl import environment_loop
from serl import specs
from serl.testing import fakes

_SPEC = fakes.make_image_spec()


def _observation(**others):
  observation = {
    'state': {'tcp_pos': np.zeros(3, np.float32)},
    'image': np.zeros((8, 8, 3), np.uint8),
    **others,
  }
  return {name: x for name, x in observation.items() if x is not _NOTHING}


_NOTHING = object()
_WRONG = [
  (
    {'image': np.zeros((3, 8, 8), np.uint8)},
    r'observation/image: uint8 \[3, 8, 8\], expected uint8 \[8, 8, 3\]',
  ),
  (
    {'image': np.zeros((8, 8, 3), np.float32)},
    r'observation/image: float32 \[8, 8, 3\], expected uint8',
  ),
  (
    {'state': {'tcp_pos': np.zeros(3)}},
    r'observation/state/tcp_pos: float64 \[3\], expected float32 \[3\]',
  ),
  (
    {'state': {'tcp_pos': np.float32(0)}},
    r'observation/state/tcp_pos: float32 \[\], expected float32 \[3\]',
  ),
  (
    {'state': {'tcp_pos': None}},
    r'observation/state/tcp_pos: NoneType, expected float32 \[3\]',
  ),
  (
    {'state': 'away'},
    r'observation/state: str, which no spec is of',
  ),
  ({'image': _NOTHING}, r'observation/image: missing, expected uint8'),
  (
    {'force': np.zeros(3, np.float32)},
    r'observation/force: float32 \[3\], which no spec is of',
  ),
  (
    {'state': {'tcp_pos': np.float32([0, np.nan, 0])}},
    r'observation/state/tcp_pos: .*nan.* expected finite numbers',
  ),
]


class _Environment(fakes.FakeEnvironment):
  """Gives what it is to give, and counts its steps."""

  def __init__(self, spec, first=None, later=None):
    super().__init__(spec)
    self._first = first
    self._later = later or {}
    self.steps = 0

  def reset(self):
    timestep = super().reset()
    return timestep if self._first is None else self._first

  def step(self, action):
    self.steps += 1
    return super().step(action)._replace(**self._later)


def _run(environment, spec):
  actor = fakes.FakeActor(spec)
  environment_loop.EnvironmentLoop(environment, actor).run_episode()


@pytest.mark.parametrize('others, told', _WRONG)
def test_a_first_observation_is_what_its_spec_says(others, told):
  environment = _Environment(_SPEC, dm_env.restart(_observation(**others)))
  with pytest.raises(ValueError, match=told) as error:
    _run(environment, _SPEC)
  assert str(error.value).startswith('What reset() of the environment gave')
  assert not environment.steps


@pytest.mark.parametrize('others, told', _WRONG)
def test_so_is_that_of_the_first_step(others, told):
  later = {'observation': _observation(**others)}
  environment = _Environment(_SPEC, later=later)
  with pytest.raises(ValueError, match=told) as error:
    _run(environment, _SPEC)
  assert str(error.value).startswith('What step() of the environment gave')
  assert environment.steps == 1


@pytest.mark.parametrize(
  'later, told',
  [
    ({'reward': None}, 'reward: NoneType, expected one number'),
    ({'reward': 'good'}, 'reward: str, expected one number'),
    ({'reward': np.zeros(1)}, r'reward: float64 \[1\], expected one number'),
    ({'reward': [0.0, 1.0]}, r'reward: float64 \[2\], expected one number'),
    ({'discount': None}, 'discount: NoneType, expected one number'),
    ({'discount': np.ones(1)}, r'discount: float64 \[1\], expected one'),
    ({'discount': 1.5}, r'discount: 1.5, expected within \[0, 1\]'),
    ({'discount': np.nan}, r'discount: nan, expected within \[0, 1\]'),
  ],
)
def test_the_first_reward_and_discount_are_numbers(later, told):
  environment = _Environment(_SPEC, later=later)
  with pytest.raises(ValueError, match=told):
    _run(environment, _SPEC)
  assert environment.steps == 1


@pytest.mark.parametrize(
  'first, told',
  [
    ((_observation(), {}), 'tuple, expected a dm_env.TimeStep'),
    (_observation(), 'dict, expected a dm_env.TimeStep'),
    (dm_env.transition(0.0, _observation()), 'expected FIRST'),
  ],
)
def test_a_reset_gives_a_first_timestep(first, told):
  environment = _Environment(_SPEC, first)
  with pytest.raises(ValueError, match=told):
    _run(environment, _SPEC)
  assert not environment.steps


def test_a_timestep_may_have_more_fields():
  fields = (*dm_env.TimeStep._fields, 'info')

  class Longer(collections.namedtuple('Longer', fields)):
    def first(self):
      return self.step_type == dm_env.StepType.FIRST

  timestep = Longer(*dm_env.restart(_observation()), info={})
  conformance.check_first(timestep, _SPEC)


@pytest.mark.parametrize(
  'changes, told',
  [
    (
      {'observations': {'a/b': specs.Array((1,), np.float32)}},
      "observation: the name 'a/b', expected text without slashes",
    ),
    (
      {'observations': {'a': {7: specs.Array((1,), np.float32)}}},
      'observation/a: the name 7, expected text',
    ),
    ({'observations': {}}, 'observation: none, expected an array'),
    (
      {'observations': {'task': specs.Array((), np.str_)}},
      'observation/task: str.*, expected numbers; leave it out',
    ),
    (
      {'observations': {'task': specs.Array((), object)}},
      'observation/task: object, expected numbers; leave it out',
    ),
    (
      {'observations': {'x': (3,), 'y': specs.Array((), np.float32)}},
      'observation/x/0: int, expected a spec of dm_env.specs',
    ),
    ({'actions': None}, 'action: NoneType, expected a spec of dm_env.specs'),
    (
      {'rewards': specs.Array((2,), np.float32)},
      r'reward: \[2\], expected one number',
    ),
    (
      {'discounts': specs.BoundedArray((1,), np.float32, 0, 1)},
      r'discount: \[1\], expected one number',
    ),
  ],
)
def test_specs_of_what_no_agent_can_learn_from_are_refused(changes, told):
  environment = _Environment(_SPEC._replace(**changes))
  with pytest.raises(ValueError, match=told):
    environment_loop.EnvironmentLoop(environment, fakes.FakeActor(_SPEC))
  with pytest.raises(ValueError, match=told):
    specs.make_environment_spec(environment)


@pytest.mark.parametrize(
  'spec', [fakes.make_state_spec(), fakes.make_image_spec()]
)
def test_what_fits_runs(spec):
  environment = _Environment(spec)
  _run(environment, spec)
  assert environment.steps == 10
