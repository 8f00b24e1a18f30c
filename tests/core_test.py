"""What objects may have beside their contracts is found through wrappers."""

import ast
import pathlib
import typing

import pytest

from serl import core
from serl.agents import builder
from serl.agents import rlpd
from serl.agents import sac
from serl.environments.franka import cameras
from serl.environments.sim import pick_cube
from serl.environments.wrappers import base
from serl.programs import watchdog
from serl.teleop import devices

ROOT = pathlib.Path(__file__).parents[1]


def _capabilities(module):
  return [
    found
    for found in vars(module).values()
    if isinstance(found, core.Capability) and found is not typing.Protocol
  ]


_ALL = [
  *_capabilities(core),
  *_capabilities(devices),
  *_capabilities(cameras),
  *_capabilities(builder),
]
_OF_ENVIRONMENTS = [
  core.HasActionsPerStep,
  core.HasControlTimestep,
  core.HasDemandPictures,
  core.HasGripperCloses,
  core.HasHold,
  core.HasNote,
  core.HasRealTime,
  core.HasRender,
  core.HasScene,
  core.HasStepExtras,
  core.HasToolFrame,
  core.HasTurns,
]


class _Plain:
  """An environment with nothing beside its contract."""

  closed = False

  def close(self):
    self.closed = True


def _make(capability):
  """Returns a plain environment that has a capability."""
  members = {
    name: lambda self, *args, **kwargs: None
    for name in core.capability_names(capability)
  }
  return type('Capable', (_Plain,), members)()


def _wrapped(environment, guard):
  made = guard.make(lambda seed: base.EnvironmentWrapper(environment), 0)
  return base.EnvironmentWrapper(made)


@pytest.fixture(name='guard')
def enter_watchdog():
  with watchdog.Watchdog('test', watchdog.Limits()) as guard:
    yield guard


@pytest.mark.parametrize('capability', _OF_ENVIRONMENTS)
def test_wrappers_pass_on_what_they_wrap(capability, guard):
  wrapped = _wrapped(_make(capability), guard)
  assert isinstance(wrapped, capability)
  assert not isinstance(_wrapped(_Plain(), guard), capability)
  others = set(_OF_ENVIRONMENTS) - {capability}
  assert not [other for other in others if isinstance(wrapped, other)]


def test_an_attribute_that_is_none_is_not_there():
  environment = _make(core.HasControlTimestep)
  environment.control_timestep = None
  assert not isinstance(environment, core.HasControlTimestep)
  type(environment).hold = None
  assert not isinstance(environment, core.HasHold)


def test_a_property_that_is_not_there_is_none():
  class Clockless(_Plain):
    @property
    def control_timestep(self):
      raise AttributeError('no clock')

  assert not isinstance(Clockless(), core.HasControlTimestep)
  assert not isinstance(
    base.EnvironmentWrapper(Clockless()), core.HasControlTimestep
  )


def test_the_simulation_has_its_capabilities():
  environment = base.EnvironmentWrapper(pick_cube.make(seed=0))
  found = {c for c in _OF_ENVIRONMENTS if isinstance(environment, c)}
  assert found == {core.HasControlTimestep, core.HasRender, core.HasStepExtras}
  assert isinstance(environment, core.HasEpisodeMetrics)


def test_agents_with_a_critic_are_known():
  agent = sac.SACBuilder(sac.cpu())
  assert isinstance(agent, builder.CriticBuilder)
  assert isinstance(rlpd.RLPDBuilder(agent), builder.CriticBuilder)
  assert not isinstance(_Plain(), builder.CriticBuilder)


def test_a_class_may_say_that_it_has_one():
  class Stoppable(core.HasHold):
    def hold(self):
      pass

  assert isinstance(Stoppable(), core.HasHold)
  assert isinstance(Stoppable(), Stoppable)
  assert not isinstance(_make(core.HasHold), Stoppable)


def test_every_capability_has_a_contract():
  assert len(_ALL) >= 17
  for capability in _ALL:
    assert capability.__doc__
    for name in core.capability_names(capability):
      member = getattr(capability, name)
      assert member.__doc__, f'{capability.__name__}.{name}'


def _asked_by_name(path: pathlib.Path, names: set[str]) -> list[str]:
  """Returns where a file asks an object for one of `names` by a string."""
  return [
    f'{path}:{node.lineno}: {node.args[1].value}'
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.Call)
    and isinstance(node.func, ast.Name)
    and node.func.id in ('getattr', 'hasattr')
    and isinstance(node.args[1], ast.Constant)
    and node.args[1].value in names
  ]


def test_nobody_asks_for_a_capability_by_its_name():
  names = set().union(*map(core.capability_names, _ALL))
  assert {'episode_metrics', 'render', 'exposure', 'make_critic'} <= names
  found = [
    line
    for path in sorted((ROOT / 'serl').rglob('*.py'))
    for line in _asked_by_name(path, names)
  ]
  assert not found, '\n'.join(found)


def test_asking_by_name_is_seen(tmp_path):
  path = tmp_path / 'asks.py'
  path.write_text("hold = getattr(x, 'hold', None)\nok = getattr(x, 'y')\n")
  assert _asked_by_name(path, {'hold'}) == [f'{path}:1: hold']
