"""The contracts between the rooms: actor, adder, fault, source of variables.

And what an environment or an actor may have beside its contract: a Protocol
`Has...` for each, which `isinstance` finds through wrappers.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import dm_env
import numpy as np

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


class Capability(type(Protocol)):
  """The type of Protocols of what an object may have beside its contract.

  `isinstance` asks the object, as wrappers pass on what they wrap. From Python
  3.12 on, that of other Protocols asks the object's class alone. An attribute
  that is None is not there.
  """

  def __instancecheck__(cls, instance: Any) -> bool:
    if not cls.__dict__.get('_is_protocol'):
      return super().__instancecheck__(instance)
    names = capability_names(cls)
    return all(getattr(instance, name, None) is not None for name in names)


def capability_names(capability: type) -> frozenset[str]:
  """Returns the names of the methods and properties of a `Capability`."""
  return frozenset(
    name
    for base in capability.__mro__
    if base.__dict__.get('_is_protocol')
    for name in vars(base)
    if not name.startswith('_')
  )


# What an environment may have. Wrappers that do not change it pass it on.


@runtime_checkable
class HasEpisodeMetrics(Protocol, metaclass=Capability):
  """Reports on the episode."""

  def episode_metrics(self) -> Mapping[str, float]:
    """Returns scalars of the present episode so far, by name.

    'success' is 1 where the task has succeeded in it and 0 where not yet, and
    is missing where the environment does not know; 'reward/NAME' is the sum of
    a term of the reward. May be called at any time.
    """


@runtime_checkable
class HasStepExtras(Protocol, metaclass=Capability):
  """Reports on the last step; actors may do so, too."""

  def step_extras(self) -> Mapping[str, Any]:
    """Returns what the last step was beside its timestep, as scalars or arrays.

    They become columns of the episode's extras: each has the same names, shapes
    and dtypes in all steps of an episode. 'success' is whether the task is done
    in the present state.
    """


@runtime_checkable
class HasControlTimestep(Protocol, metaclass=Capability):
  """Has a clock."""

  @property
  def control_timestep(self) -> float:
    """The time of one action, s, as the environment's own clock has it."""


@runtime_checkable
class HasRender(Protocol, metaclass=Capability):
  """Makes pictures for people."""

  def render(
    self, camera: str = 'picture', height: int = 480, width: int = 640
  ) -> np.ndarray:
    """Returns a picture of the present state, [H, W, 3] uint8.

    Args:
      camera: the name of the view; each environment has 'picture'.
      height: of the picture, pixels; some environments have one size alone.
      width: likewise.
    """


@runtime_checkable
class HasHold(Protocol, metaclass=Capability):
  """Can be stopped."""

  def hold(self) -> None:
    """Stops what moves, where an actor's fault leaves it moving."""


@runtime_checkable
class HasNote(Protocol, metaclass=Capability):
  """Shows texts beside its pictures."""

  def note(self, text: str) -> None:
    """Shows a text, such as a fault, until the next one; '' shows none."""


@runtime_checkable
class HasDemandPictures(Protocol, metaclass=Capability):
  """Knows whether its pictures are good enough to end an episode by."""

  def demand_pictures(self) -> None:
    """Returns where the last pictures are.

    Raises:
      FaultError: a camera is frozen, black or gone.
    """


@runtime_checkable
class HasTurns(Protocol, metaclass=Capability):
  """Alternates between tasks."""

  @property
  def next_task(self) -> str:
    """The name of the task of the next episode, as far as it is known."""

  @property
  def next_is_try(self) -> bool:
    """Whether the next task begins though the one before did not succeed."""


@runtime_checkable
class HasActionsPerStep(Protocol, metaclass=Capability):
  """Executes several actions in a row as one."""

  @property
  def actions_per_step(self) -> int:
    """How many actions of the innermost environment one action is made of."""


@runtime_checkable
class HasToolFrame(Protocol, metaclass=Capability):
  """Acts in the frame of the tool."""

  def to_tool_frame(self, action: np.ndarray) -> np.ndarray:
    """Returns the action that means what `action` does in the base frame."""


@runtime_checkable
class HasGripperCloses(Protocol, metaclass=Capability):
  """Has a gripper whose actions have a sign of their own."""

  @property
  def gripper_closes(self) -> int:
    """The sign of the actions that close the gripper, 1 or -1."""


@runtime_checkable
class HasScene(Protocol, metaclass=Capability):
  """Is simulated, and its objects can be asked for."""

  @property
  def scene(self) -> Any:
    """The simulated scene of the present task."""


@runtime_checkable
class HasRealTime(Protocol, metaclass=Capability):
  """Knows whether it runs in real time, as a robot does.

  A simulation, whose time passes by its steps alone, need not have it.
  """

  @property
  def real_time(self) -> bool:
    """Whether time passes while nothing acts: then no learner holds it up."""


# What an actor may have.


@runtime_checkable
class HasPrepare(Protocol, metaclass=Capability):
  """Needs something that may be gone for a while."""

  def prepare(self) -> None:
    """Is called before the environment is reset.

    Raises:
      FaultError: what the actor needs is gone; nothing moves until it is back.
    """


@runtime_checkable
class HasMetrics(Protocol, metaclass=Capability):
  """Reports on its acting."""

  def metrics(self) -> Mapping[str, float]:
    """Returns scalars by name that are reported with every episode."""


@runtime_checkable
class HasClose(Protocol, metaclass=Capability):
  """Holds a device or a thread."""

  def close(self) -> None:
    """Lets go of it; the actor does not act afterwards."""


class FaultError(RuntimeError):
  """A part of the robot failed: its arm, a camera, what a person drives it by.

  Environments and actors raise it when a step, a reset or an action cannot be
  trusted. An environment holds the arm before; after an actor's the loop has
  the environment do it, by its `hold()`. The episode is dropped and a later
  `reset` is tried, which raises it again while the part is not back.
  """


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
