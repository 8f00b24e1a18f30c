"""Environments of gymnasium."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from absl import logging
import dm_env
import numpy as np

from serl import specs
from serl import types
from serl.environments.adapters import gymnasium_spaces as spaces_lib
from serl.environments.adapters import preparation
from serl.environments.sim import opengl
from serl.environments.wrappers import action_repeat as action_repeat_lib

# Of `info`: gymnasium-robotics; Meta-World and others; gym-hil.
SUCCESS_KEYS = ('is_success', 'success', 'succeed')
_NUMBERS = 'fiub'  # kinds of dtypes


class Gymnasium(dm_env.Environment):
  """Gives an environment of gymnasium the conventions of dm_env.

  - Terminated is LAST with discount 0. Truncated alone is LAST with discount 1,
    so that agents bootstrap there. Towers et al. 2024, arXiv 2407.17032.
  - `episode_metrics` has 'success', 1 where `info` had a success in any step of
    the episode, and `step_extras` has that of the last step. Unless its keys
    are named, neither is there before `info` had one.
  - Observations are of Box spaces or a Dict of them. Bytes in the shape of
    images stay bytes, other numbers become float32. Names with slashes become
    names within names.
  - Actions are of a Box space, whose numbers are taken as one vector.
  """

  def __init__(
    self,
    environment: Any,
    seed: int = 0,
    success_keys: Sequence[str] | None = None,
    leave_out: Collection[str] = (),
  ):
    """Adapts `environment`.

    Args:
      environment: a `gymnasium.Env`.
      seed: of its first reset, from which all random starts follow.
      success_keys: of `info`; the first that is there counts, and where none
        is there the step was no success. None looks for `SUCCESS_KEYS`, and
        reports no success before one of them was there.
      leave_out: the paths of what is not observed, such as 'task' or
        'pixels/top'.

    Raises:
      TypeError: it is not a `gymnasium.Env`.
      ValueError: a space, which is named, is of another kind, or there is
        nothing of a name to leave out.
    """
    _check_kind(environment)
    self._gymnasium = environment
    self._seed: int | None = int(seed)
    is_asked = success_keys is not None
    self._success_keys = _names(success_keys if is_asked else SUCCESS_KEYS)
    self._leave_out = _names(leave_out)
    spaces = dict(spaces_lib.leaves(_space(environment, 'observation')))
    for path in self._leave_out:
      if not any(spaces_lib.is_within(known, path) for known in spaces):
        raise ValueError(
          f'leave_out has {path!r}; expected one of {sorted(spaces)}.'
        )
    observed = {p: s for p, s in spaces.items() if not self._is_left_out(p)}
    self._flat_spec = {
      p: spaces_lib.observation_spec(p, s) for p, s in observed.items()
    }
    self._action_spec = spaces_lib.action_spec(_space(environment, 'action'))
    self._is_over = True
    self._steps = 0
    self._reports_success = is_asked  # or `info` has had one of the keys
    self._warns = is_asked  # of an episode in which `info` has none of them
    self._has_column = False  # of success, since the episode's first step
    self._success = False  # of the last step
    self._has_succeeded = False  # in the episode

  def reset(self) -> dm_env.TimeStep:
    """Begins an episode.

    Raises:
      ValueError: the environment did not give an observation and an info.
    """
    given = self._gymnasium.reset(seed=self._seed)
    self._seed = None
    if not _ends_with_info(given, 2):
      raise ValueError(
        f'reset() of the environment gave {_summary(given)}; expected '
        '(observation, info), as gymnasium has it.'
      )
    observation, info = given
    self._is_over, self._steps = False, 0
    self._see(info)
    self._has_column = self._reports_success
    self._success = self._has_succeeded = False  # nothing was done for it
    return dm_env.restart(self._observe(observation))

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    """Steps; begins an episode where the last one is over.

    Raises:
      ValueError: the environment did not give what a step of gymnasium has.
    """
    if self._is_over:
      return self.reset()
    space = self._gymnasium.action_space
    given = self._gymnasium.step(
      np.asarray(action, space.dtype).reshape(space.shape)
    )
    if not _ends_with_info(given, 5):
      raise ValueError(
        f'step() of the environment gave {_summary(given)}; expected '
        '(observation, reward, terminated, truncated, info), as gymnasium has '
        'it.'
      )
    observation, reward, terminated, truncated, info = given
    self._is_over = bool(terminated or truncated)
    self._steps += 1
    self._see(info)
    if self._steps == 1:
      self._has_column = self._reports_success
    if self._is_over and self._warns:
      self._warn_of_keys(info)
    return dm_env.TimeStep(
      dm_env.StepType.LAST if self._is_over else dm_env.StepType.MID,
      _reward(reward),
      np.float32(0 if terminated else 1),
      self._observe(observation),
    )

  def episode_metrics(self) -> dict[str, float]:
    """Returns whether the episode has succeeded, where `info` tells it."""
    if not self._reports_success:
      return {}
    return {'success': float(self._has_succeeded)}

  def step_extras(self) -> dict[str, np.uint8]:
    """Returns whether the last step was a success, where `info` tells it.

    An episode has it in all of its steps or in none: where `info` first tells
    it later than in the first step, from the next episode on.
    """
    return {'success': np.uint8(self._success)} if self._has_column else {}

  def observation_spec(self) -> types.NestedSpec:
    """Returns the spec of the observation."""
    return specs.unflatten(self._flat_spec)

  def action_spec(self) -> specs.BoundedArray:
    """Returns the spec of the action, [A]."""
    return self._action_spec

  def reward_spec(self) -> specs.Array:
    """Returns the spec of the reward."""
    return specs.Array((), np.float32, name='reward')

  def discount_spec(self) -> specs.BoundedArray:
    """Returns the spec of the discount."""
    return specs.BoundedArray((), np.float32, 0.0, 1.0, name='discount')

  @property
  def control_timestep(self) -> float:
    """The time of one action, s, by 'render_fps' of the metadata.

    Raises:
      AttributeError: it is not there; the environment has no clock then.
    """
    rate = (self._gymnasium.metadata or {}).get('render_fps')
    if not rate:
      raise AttributeError('The environment has no render_fps.')
    return 1 / rate

  def close(self) -> None:
    """Closes the environment."""
    self._gymnasium.close()

  def _is_left_out(self, path: str) -> bool:
    return any(spaces_lib.is_within(path, name) for name in self._leave_out)

  def _observe(self, observation: Any) -> types.NestedArray:
    # What is missing or of another kind is named by who compares it with the
    # specs.
    flat = {}
    for path, value in _by_path(observation):
      if self._is_left_out(path):
        continue
      spec = self._flat_spec.get(path)
      is_number = spec is not None and spec.dtype == np.float32
      flat[path] = _single(value) if is_number else value
    return specs.unflatten(flat)

  def _see(self, info: Mapping[str, Any]) -> None:
    key = next((key for key in self._success_keys if key in info), None)
    self._success = False
    if key is None:
      return
    self._reports_success, self._warns = True, False
    try:
      self._success = bool(info[key])
    except ValueError as error:
      raise ValueError(
        f'info[{key!r}] is {info[key]!r}; expected one truth value.'
      ) from error
    self._has_succeeded |= self._success

  def _warn_of_keys(self, info: Mapping[str, Any]) -> None:
    self._warns = False
    logging.warning(
      'An episode ended, and info has the keys %s, expected one of '
      'success_keys %s: without one, no step counts as a success.',
      sorted(info),
      list(self._success_keys),
    )


class FilmedGymnasium(Gymnasium):
  """Also makes pictures for people, in the mode 'rgb_array'."""

  def render(
    self, camera: str = 'picture', height: int = 480, width: int = 640
  ) -> np.ndarray:
    """Returns a picture, [H, W, 3] uint8, of the environment's own size.

    Args:
      camera: not used: the environment has one view, or a first one.
      height: not used.
      width: not used.
    """
    del camera, height, width
    picture = self._gymnasium.render()
    if isinstance(picture, (list, tuple)):  # several views
      picture = picture[0]
    return np.asarray(picture, np.uint8)


def from_gymnasium(
  environment: Any,
  seed: int = 0,
  action_repeat: int = 1,
  max_episode_steps: int | None = None,
  success_keys: Sequence[str] | None = None,
  leave_out: Collection[str] = (),
  make_kwargs: Mapping[str, Any] | None = None,
) -> dm_env.Environment:
  """Makes an environment of gymnasium ready for an agent.

  Observations and actions are float32, images bytes, and actions are in
  [-1, 1]; see `Gymnasium` for the rest.

  Args:
    environment: a `gymnasium.Env`, or the id of one. A package that registers
      it can be named before: 'gym_hil:gym_hil/PandaPickCubeBase-v0'.
    seed: of its first reset, from which all random starts follow.
    action_repeat: steps of the environment that one action is executed for.
    max_episode_steps: of the environment, after which an episode is truncated;
      None leaves it at what is registered.
    success_keys: of `info`, see `Gymnasium`; None looks for the usual ones.
    leave_out: the paths of what is not observed, such as 'task'.
    make_kwargs: of `gymnasium.make`, for an id.

  Raises:
    ImportError: gymnasium is not installed, or the package that is named.
    TypeError: it is neither an id nor a `gymnasium.Env`.
    ValueError: no environment has this id, or a space is of a kind that agents
      do not take.
  """
  gymnasium = _gymnasium()
  if isinstance(environment, str):
    environment = _make(environment, max_episode_steps, make_kwargs or {})
  elif make_kwargs:
    raise ValueError(
      f'make_kwargs is {dict(make_kwargs)}; expected none, as the environment '
      'has been made.'
    )
  elif max_episode_steps is not None:
    _check_kind(environment)
    environment = gymnasium.wrappers.TimeLimit(environment, max_episode_steps)
  _check_kind(environment)
  is_filmed = environment.render_mode == 'rgb_array'
  adapter = FilmedGymnasium if is_filmed else Gymnasium
  adapted = adapter(environment, seed, success_keys, leave_out)
  return action_repeat_lib.ActionRepeat(
    preparation.agent_ready(adapted), action_repeat
  )


def _make(
  name: str, max_episode_steps: int | None, make_kwargs: Mapping[str, Any]
) -> Any:
  gymnasium = _gymnasium()
  opengl.prefer_headless()  # before it may import MuJoCo
  try:
    return gymnasium.make(
      name, max_episode_steps=max_episode_steps, **make_kwargs
    )
  except gymnasium.error.UnregisteredEnv as error:
    raise ValueError(
      f'gymnasium has no environment {name!r}: {error} Where a package '
      'registers it, put its name before the id: '
      "'gym_hil:gym_hil/PandaPickCubeBase-v0'."
    ) from error


def _gymnasium() -> ModuleType:
  # Of no use to a run in another environment.
  try:
    import gymnasium
  except ImportError as error:
    raise ImportError(
      f'gymnasium cannot be imported ({error}). Install it with '
      "`pip install 'serl[gymnasium]'`."
    ) from error
  return gymnasium


def _check_kind(environment: Any) -> None:
  gymnasium = _gymnasium()
  kind = f'{type(environment).__module__}.{type(environment).__name__}'
  if isinstance(environment, gymnasium.vector.VectorEnv):
    raise TypeError(
      f'The environment is several, a {kind}; expected one: RunConfig.'
      'num_actors is how many actors step one each.'
    )
  if not isinstance(environment, gymnasium.Env):
    raise TypeError(
      f'The environment is a {kind}; expected a gymnasium.Env or the id of '
      'one. Those of the older package gym are not.'
    )


def _names(names: str | Collection[str]) -> tuple[str, ...]:
  """Returns names as a tuple; a single one may stand alone."""
  return (names,) if isinstance(names, str) else tuple(names)


def _space(environment: Any, kind: str) -> Any:
  return getattr(environment, f'{kind}_space', None)


def _by_path(observation: Any, path: str = '') -> Iterator[tuple[str, Any]]:
  """Yields what is no mapping, as a list that is meant as an array."""
  if not isinstance(observation, Mapping):
    yield path, observation
    return
  for name, value in observation.items():
    yield from _by_path(value, f'{path}/{name}' if path else str(name))


def _ends_with_info(given: Any, length: int) -> bool:
  return (
    isinstance(given, tuple)
    and len(given) == length
    and isinstance(given[-1], Mapping)
  )


def _summary(given: Any) -> str:
  if isinstance(given, tuple):
    return f'({", ".join(type(part).__name__ for part in given)})'
  return type(given).__name__


def _reward(value: Any) -> np.float32:
  array = np.asarray(value)
  if array.size != 1 or array.dtype.kind not in _NUMBERS:
    raise ValueError(
      f'step() of the environment gave the reward {value!r}; expected one '
      'number.'
    )
  return np.float32(array.item())


def _single(value: Any) -> Any:
  """Returns numbers in float32, and what is no number as it is."""
  if value is None or np.asarray(value).dtype.kind not in _NUMBERS:
    return value
  with np.errstate(over='ignore'):  # beyond float32 is infinity
    return np.asarray(value, np.float32)[()]
