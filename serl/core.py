"""The contracts between the rooms: actor, adder, fault, source of variables."""

from typing import NamedTuple, Protocol, runtime_checkable

import dm_env

from serl import types


@runtime_checkable
class Actor(Protocol):
  """Chooses actions and sees what came of them.

  The loop calls `observe_first` once an episode, then `select_action`,
  `observe` and `update` once a step, in this order. None of them may block: the
  actor stands in a robot's control loop.
  """

  def select_action(self, observation: types.NestedArray) -> types.NestedArray:
    """Returns the action to execute: this one is recorded."""

  def observe_first(self, timestep: dm_env.TimeStep) -> None:
    """Sees the first timestep of an episode."""

  def observe(
    self, action: types.NestedArray, next_timestep: dm_env.TimeStep
  ) -> None:
    """Sees the executed action and the timestep that it led to."""

  def update(self) -> None:
    """Takes newer policy parameters if there are any; returns at once."""


@runtime_checkable
class Adder(Protocol):
  """Takes an episode step by step and stores it."""

  def add_first(self, timestep: dm_env.TimeStep) -> None:
    """Begins an episode; an unfinished one before it is dropped."""

  def add(
    self, action: types.NestedArray, next_timestep: dm_env.TimeStep
  ) -> None:
    """Adds a step; stores the episode if `next_timestep` is its last."""

  def reset(self) -> None:
    """Drops the unfinished episode."""


class FaultError(RuntimeError):
  """A part of the robot failed: its arm, a camera, what a person drives it by.

  Environments and actors raise it when a step, a reset or an action cannot be
  trusted. An environment holds the arm before; after an actor's the loop has
  the environment do it, by its `hold()`. The episode is dropped and a later
  `reset` is tried, which raises it again while the part is not back.
  """


@runtime_checkable
class RealTime(Protocol):
  """An environment that may run in real time, as a robot does.

  A simulation, whose time passes by its steps alone, need not have it.
  """

  @property
  def real_time(self) -> bool:
    """Whether time passes while nothing acts: then no learner holds it up."""


class Variables(NamedTuple):
  """Policy parameters and how old they are."""

  params: types.Params
  learner_steps: int  # rounds the learner had done when it published them
  age: float  # seconds from their publication to this answer
  env_steps: int = 0  # in the replay when they were published


@runtime_checkable
class VariableSource(Protocol):
  """Serves policy parameters, usually from another process."""

  def get_variables(self, after: int) -> Variables | None:
    """Returns the newest published parameters.

    Waits a moment for them, so that who asks again at once has them as soon as
    they are published.

    Args:
      after: the `learner_steps` of those that are known; -1 for none.

    Returns:
      Others than those known; None if there were none in that moment.
    """
