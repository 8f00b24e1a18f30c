"""Tasks in turns, of which one's end is another's beginning."""

from collections.abc import Mapping
from typing import Any

from absl import logging
import dm_env

from serl.environments.wrappers import base


class Alternating(base.EnvironmentWrapper):
  """Changes to the next task after a success, so that nobody needs to reset.

  Every episode is one of one task; they share the arm and what stands around
  it. After a success, which is a LAST with discount 0, the next one in order
  begins, the first after the last; else, and after a fault, the same again.
  Two tasks, there and back, run for hours. Luo et al. 2024, SERL, arXiv
  2401.16013.

  What judges success may be blind to one, and then the same task would begin
  for ever. So after some episodes in a row without success the next one has a
  try. Where there was no success indeed, it finds what it is to bring about,
  and its success gives the turn back after a step.

  What is asked beside dm_env's methods, like `step_extras`, is asked of the
  present task's environment.
  """

  def __init__(
    self, environments: Mapping[str, dm_env.Environment], patience: int = 10
  ):
    """Begins with the first.

    Args:
      environments: by the names of their tasks, in their order. Only one of
        them is stepped at a time.
      patience: episodes in a row without success after which the next task has
        a try.

    Raises:
      ValueError: there are none, their specs differ, or there is no patience.
    """
    if patience < 1:
      raise ValueError(f'patience is {patience}; expected 1 episode or more.')
    if not environments:
      raise ValueError('environments is empty; expected one or more by names.')
    self._environments = dict(environments)
    names = list(self._environments)
    first = self._environments[names[0]]
    for name, environment in self._environments.items():
      for kind in (
        'action_spec',
        'observation_spec',
        'reward_spec',
        'discount_spec',
      ):
        expected = getattr(first, kind)()
        given = getattr(environment, kind)()
        if given != expected:
          raise ValueError(
            f'The {kind} of {name!r} is {given}; expected that of '
            f'{names[0]!r}, {expected}.'
          )
    super().__init__(first)
    self._following = dict(zip(names, names[1:] + names[:1]))
    self._task = self._next_task = names[0]
    self._patience = patience
    self._failures = 0  # in a row, of the present task
    self._next_is_try = False
    self._over = True

  @property
  def task(self) -> str:
    """The name of the task of the present episode, or of the first."""
    return self._task

  @property
  def next_task(self) -> str:
    """The name of the task of the next episode, as far as it is known."""
    return self._next_task

  @property
  def next_is_try(self) -> bool:
    """Whether no success leads to the next episode, but that there is none.

    It may find what it is to bring about.
    """
    return self._next_is_try

  def reset(self) -> dm_env.TimeStep:
    """Begins an episode of `next_task`; an unfinished one is no success."""
    self._task = self._next_task
    self._environment = self._environments[self._task]
    self._over = True  # where the reset fails
    return self._see(self._environment.reset())

  def step(self, action: Any) -> dm_env.TimeStep:
    """Steps the present task; after its end, begins the next one."""
    if self._over:
      return self.reset()
    return self._see(self._environment.step(action))

  def close(self) -> None:
    for environment in self._environments.values():
      environment.close()

  def _see(self, timestep: dm_env.TimeStep) -> dm_env.TimeStep:
    self._over = timestep.last()
    if timestep.last():
      self._failures = 0 if timestep.discount == 0 else self._failures + 1
      self._next_is_try = self._failures == self._patience
      if self._next_is_try:
        logging.warning(
          '%s had no success in %d episodes: %s has a try. Is there success '
          'that what judges it does not see?',
          self._task,
          self._failures,
          self._following[self._task],
        )
        self._failures = 0
      if not self._failures:
        self._next_task = self._following[self._task]
    return timestep
