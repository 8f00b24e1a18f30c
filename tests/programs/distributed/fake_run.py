"""A run of a few seconds for the tests: a fake environment, tiny networks."""

import ctypes
import functools
import pathlib
import sys
import threading

from absl import app
from absl import flags
import dm_env
import numpy as np

from serl import core
from serl import programs
from serl import specs
from serl.agents.rlpd import builder as rlpd_builder
from serl.agents.sac import builder as sac_builder
from serl.agents.sac import config as sac_config
from serl.environments.wrappers import alternating
from serl.programs import command
from serl.teleop import devices
from serl.teleop import intervention
from serl.testing import fakes

SPEC = fakes.make_state_spec()._replace(
  # What a person can drive.
  actions=specs.BoundedArray((3,), np.float32, -1.0, 1.0, 'action')
)


class FaultyEnvironment(fakes.FakeEnvironment):
  """Goes wrong in its 15th episode."""

  control_timestep = 0.05

  def __init__(self, fault: str, **kwargs):
    super().__init__(**kwargs)
    self._fault = fault
    self._episodes = 0

  def reset(self) -> dm_env.TimeStep:
    self._episodes += 1
    if self._fault == 'reset' and self._episodes > 15:
      threading.Event().wait()
    return super().reset()

  def step(self, action):
    if self._fault == 'bug' and self._episodes > 2:
      np.zeros(2) + np.zeros(3)
    if self._fault == 'dead' and self._episodes > 15:
      raise core.FaultError('the arm has\nno power')
    if self._fault == 'step' and self._episodes > 15:
      threading.Event().wait()
    if self._fault == 'lock' and self._episodes > 15:
      ctypes.PyDLL(None).sleep(1000)  # it keeps the interpreter's lock
    timestep = super().step(action)
    if self._fault == 'nan' and self._episodes > 15:
      return timestep._replace(reward=np.float32('nan'))
    return timestep


def make_environment(fault: str, success: float, seed: int):
  # The evaluator's seeds are far from the actor's, whose fault it is to be.
  return FaultyEnvironment(
    fault if seed < 10_000 else 'none',
    spec=SPEC,
    episode_length=10,
    seed=seed,
    success=success,
  )


class Person:
  """Takes over in the second and the third of every five steps.

  It is its own clock, on which each look at it takes a second.
  """

  def __init__(self):
    self._looks = 0

  def now(self) -> float:
    return float(self._looks)

  def read(self) -> devices.Command:
    self._looks += 1
    moves = self._looks % 5 in (2, 3)
    motion = np.float32([0.125, 0, 0, 0, 0, 0]) * moves
    return devices.Command(motion, 0)

  def close(self) -> None:
    pass


def intervene(actor, environment) -> intervention.InterventionActor:
  person = Person()
  return intervention.InterventionActor(
    actor, lambda: person, now=person.now, **devices.conventions(environment)
  )


def make_config(run_dir: str, **overrides) -> programs.RunConfig:
  agent = sac_config.SACConfig(
    batch_size=8,
    updates_per_round=2,
    critic_members=2,
    hidden_sizes=(8, 8),
    min_replay_size=20,
    critic_learning_rate=1e-3,
  )
  if (rate := overrides.pop('learning_rate', None)) is not None:
    # So that the learner diverges: a config takes no such rate.
    object.__setattr__(agent, 'critic_learning_rate', rate)
  if overrides.pop('person', False):
    overrides['make_intervention'] = intervene
  fault = overrides.pop('fault', 'none')
  success = overrides.pop('success', 0.0)
  fields = {
    'random_steps': 20,
    'updates_per_step': 1.0,
    'steps_per_second': 100.0,
    'checkpoint_period_s': 0.5,
    'log_period_s': 0.2,
    'evaluation_period_s': 0.5,
    'evaluation_episodes': 3,
    'stop_at_successes': 3,
    **overrides,
  }
  return programs.RunConfig(
    run_dir=run_dir,
    make_environment=functools.partial(make_environment, fault, success),
    builder=rlpd_builder.RLPDBuilder(sac_builder.SACBuilder(agent)),
    demonstrations=[fakes.make_episode(SPEC, seed=s) for s in range(3)],
    **fields,
  )


def take_turns(seed: int) -> alternating.Alternating:
  """Returns two tasks that succeed; each episode is followed by the other's."""
  return alternating.Alternating(
    {
      task: fakes.FakeEnvironment(SPEC, 10, seed, terminate=True, success=1.0)
      for task in ('there', 'back')
    }
  )


def make_alternating(run_dir: str, **overrides) -> programs.AlternatingRuns:
  folder = pathlib.Path(run_dir)
  return programs.AlternatingRuns(
    run_dir=folder,
    runs={
      task: make_config(folder / task, **overrides)
      for task in ('there', 'back')
    },
    make_environment=take_turns,
  )


def main(_):
  make = make_alternating if flags.FLAGS.alternating else make_config
  config = make(
    command.run_dir('runs/fake'),
    fault=flags.FLAGS.fault,
    success=flags.FLAGS.success,
    person=flags.FLAGS.person,
    learning_rate=flags.FLAGS.learning_rate,
    **command.fields(updates_per_step=1.0, steps_per_second=100.0),
  )
  sys.exit(command.run(config))


if __name__ == '__main__':
  command.define_flags()
  flags.DEFINE_bool('alternating', False, 'Whether two tasks take turns.')
  flags.DEFINE_bool('person', False, 'Whether one intervenes.')
  flags.DEFINE_float('success', 0.0, 'Probability of success.')
  flags.DEFINE_float('learning_rate', None, 'Of the critics.')
  flags.DEFINE_enum(
    'fault',
    'none',
    ['none', 'nan', 'bug', 'dead', 'reset', 'step', 'lock'],
    "The environment's; the last three hang there.",
  )
  app.run(main)
