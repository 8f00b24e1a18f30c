"""A run's policy in a program of somebody else's.

It needs neither the environment nor Launchpad and Reverb, and runs nothing that
the folder names.
"""

from collections.abc import Callable, Mapping, Sequence
import json
import math
import os
import pathlib
from typing import Any

from absl import logging
import jax
from jax import export as jax_export
import numpy as np

from serl import specs
from serl import types
from serl.agents import actors
from serl.agents import builder as builder_lib
from serl.agents import descriptions
from serl.utils import checkpointing
from serl.utils import layout

_MAX_CONFIG = 2**24  # bytes
_MAX_NUMBERS = 10**8  # in an observation or an action


class PolicyError(ValueError):
  """A folder is no run's, or its policy is another agent's."""


class Policy:
  """What a run has learned: observation -> action, without exploring."""

  def __init__(
    self,
    act: builder_lib.Policy,
    params: types.Params,
    spec: specs.EnvironmentSpec,
    learner_steps: int,
  ):
    """Initialises the policy.

    Args:
      act: of `Builder.make_policy(..., evaluation=True)`.
      params: of `act`.
      spec: of the environment; its rewards and discounts do not matter.
      learner_steps: the rounds behind the parameters.
    """
    self.params = params
    self.spec = spec
    self.learner_steps = learner_steps
    # The parameters are constants, as in what `export` writes: with the same
    # arithmetic both give the same action.
    self._compiled = jax.jit(
      lambda observation: act(params, jax.random.PRNGKey(0), observation)
    )

  def __call__(self, observation: types.NestedArray) -> types.NestedArray:
    """Returns the action for one observation, of numpy as `spec.actions`.

    Equal observations give equal actions.

    Args:
      observation: arrays as in `spec.observations`, without a batch axis.
        Numbers of the same kind are converted: of float64, not of uint8.

    Raises:
      ValueError: it does not fit; names what differs.
      NonFiniteActionError: the action holds NaN or infinity.
    """
    action = self._compiled(self._checked(observation))
    leaves, structure = jax.tree.flatten(action)
    wanted = specs.flatten(self.spec.actions).values()
    leaves = [np.array(x, spec.dtype) for x, spec in zip(leaves, wanted)]
    action = jax.tree.unflatten(structure, leaves)
    if not all(np.isfinite(leaf).all() for leaf in leaves):
      raise actors.NonFiniteActionError(
        f'The policy of learner step {self.learner_steps} gave the action '
        f'{action!r}, expected finite numbers: look at the observation.'
      )
    return action

  def export(
    self,
    path: str | os.PathLike,
    platforms: Sequence[str] = ('cpu', 'cuda'),
  ) -> None:
    """Writes the policy, its parameters included, as JAX alone can run it.

    What is read needs neither this package nor the agent's code:

      with open(path, 'rb') as file:
        policy = jax.export.deserialize(bytearray(file.read()))
      action = policy.call(observation)

    Args:
      path: of the file; an old one is replaced.
      platforms: that it is to run on.
    """
    path = pathlib.Path(path)
    export = jax_export.export(self._compiled, platforms=list(platforms))
    exported = export(specs.zeros_like(self.spec.observations))
    temporary = path.with_name(f'.{path.name}.tmp')
    temporary.write_bytes(exported.serialize())
    os.replace(temporary, path)

  def _checked(self, observation: types.NestedArray) -> types.NestedArray:
    """Returns an observation as the spec has it."""
    arrays = {
      path: np.asarray(leaf)
      for path, leaf in specs.flatten(observation).items()
    }
    leaves = specs.flatten(self.spec.observations)
    lines = specs.differences(
      {path: _describe(array) for path, array in arrays.items()},
      {
        path: _describe(leaf, arrays.get(path)) for path, leaf in leaves.items()
      },
    )
    if lines:
      raise ValueError(
        "The observation does not fit the policy's spec:\n  "
        + '\n  '.join(lines)
      )
    return specs.unflatten(
      {path: arrays[path].astype(leaf.dtype) for path, leaf in leaves.items()}
    )


def load_policy(
  folder: str | os.PathLike,
  builder: builder_lib.Builder | None = None,
  step: int | None = None,
) -> Policy:
  """Returns the policy that a run has learned.

    policy = serl.load_policy('runs/quickstart')
    action = policy(observation)

  Args:
    folder: of the run.
    builder: that the run was trained with. None makes it again from what the
      folder's config.json says of it, which it does for the agents of this
      package without a file of frozen weights.
    step: learner step of a checkpoint; None for the policy that did best in a
      sweep of the run, or the last checkpoint's where there was no sweep.

  Raises:
    PolicyError: there is no run, or it is of another agent than `builder`'s;
      says in what they differ.
    FileNotFoundError: the run has no checkpoint yet, or not this one.
    CheckpointError: the parameters are those of another agent or environment,
      or none are whole.
  """
  folder = pathlib.Path(folder).expanduser().resolve()
  described = _read(folder)
  if builder is None:
    try:
      builder = descriptions.make_builder(described.get('agent') or {})
    except ValueError as error:
      raise PolicyError(
        f'{folder} does not say enough of its agent: {error} '
        'load_policy(folder, builder) takes the builder.'
      ) from error
  own = json.loads(json.dumps(builder.describe(), default=str))
  lines = specs.differences(
    specs.flatten(own), specs.flatten(described.get('agent') or {})
  )
  if lines:
    raise PolicyError(
      f'{folder} holds the policy of another agent than the builder makes:\n  '
      + '\n  '.join(lines)
      + '\nGive the builder that the run was trained with.'
    )
  spec = _make_spec(folder, described)
  return Policy(*restore(folder, builder, spec, step))


def restore(
  folder: pathlib.Path,
  builder: builder_lib.Builder,
  spec: specs.EnvironmentSpec,
  step: int | None = None,
) -> tuple[Callable[..., Any], types.Params, specs.EnvironmentSpec, int]:
  """Returns the evaluation policy, its params, `spec` and the learner steps.

  Whose policy it is is not checked, but for the shapes of the parameters.

  Args:
    folder: of the run.
    builder: of its agent.
    spec: of its environment.
    step: see `load_policy`.

  Raises:
    FileNotFoundError: the run has no checkpoint yet, or not this one.
    CheckpointError: see `load_policy`.
  """
  networks = builder.make_networks(spec)
  act = builder.make_policy(networks, evaluation=True)
  like = state_like(builder, networks)
  best = checkpointing.Checkpointer(folder / layout.BEST_POLICY)
  if step is None and best.steps():
    try:
      _, params, counters = best.restore_latest(
        jax.eval_shape(builder.policy_params, like)
      )
    except checkpointing.DamagedError as error:
      logging.error('%s The policy of the last checkpoint is taken.', error)
    else:
      return act, params, spec, int(counters['learner_steps'])
  state, step = restore_state(folder, like, step)
  return act, builder.policy_params(state), spec, step


def state_like(builder: builder_lib.Builder, networks: Any) -> Any:
  """Returns the shapes and dtypes of an agent's training state, as a tree."""
  return jax.eval_shape(
    builder.make_algorithm(networks).init, jax.random.PRNGKey(0)
  )


def restore_state(
  folder: pathlib.Path, like: Any, step: int | None = None
) -> tuple[Any, int]:
  """Returns the algorithm's training state and the learner steps behind it.

  Args:
    folder: of the run.
    like: of `state_like`.
    step: of a checkpoint; None for the last one.

  Raises:
    FileNotFoundError: the run has no checkpoint yet, or not this one.
    CheckpointError: none is whole, or not this one, or it is another agent's.
  """
  folder = folder / layout.CHECKPOINTS
  checkpointer = checkpointing.Checkpointer(folder)
  if step is None:
    found = checkpointer.restore_latest(like)
  else:
    found = checkpointer.restore(step, like)
  if found is None:
    raise FileNotFoundError(
      f'{folder} holds no checkpoint: the run ended before its first. Start it '
      'again with the same command.'
    )
  step, state, _ = found
  return state, step


def _read(folder: pathlib.Path) -> Mapping[str, Any]:
  """Returns what makes a run this run."""
  path = folder / layout.CONFIG
  if not path.is_file():
    inner = sorted(p.parent.name for p in folder.glob(f'*/{layout.CONFIG}'))
    where = f'; there are runs in it: {", ".join(inner)}' if inner else ''
    raise PolicyError(
      f'{folder} is no run: it has no {layout.CONFIG}{where}. Name the folder '
      'of a run.'
    )
  try:
    if path.stat().st_size > _MAX_CONFIG:
      raise ValueError('it is too long')
    described = json.loads(path.read_text(encoding='utf-8'))['run']
    specs.flatten(described)
    if not isinstance(described, dict):
      raise ValueError('it describes no run')
  except (KeyError, RecursionError, TypeError, ValueError) as error:
    raise PolicyError(
      f'{path} is torn or not that of a run ({error}). The command that began '
      'the run goes on with it and writes the file anew.'
    ) from error
  return described


def _make_spec(
  folder: pathlib.Path, described: Mapping[str, Any]
) -> specs.EnvironmentSpec:
  """Returns the spec of a run's environment."""
  try:
    return specs.EnvironmentSpec(
      observations=_make_leaves(described['observations']),
      actions=_make_leaves(described['actions']),
      rewards=specs.Array((), np.float32, 'reward'),
      discounts=specs.BoundedArray((), np.float32, 0.0, 1.0, 'discount'),
    )
  except (
    AttributeError,
    KeyError,
    OverflowError,
    TypeError,
    ValueError,
  ) as error:
    raise PolicyError(
      f'The {layout.CONFIG} of {folder} describes no observations and actions '
      f'({type(error).__name__}: {error}).'
    ) from error


def _make_leaves(described: Mapping[str, Any]) -> types.NestedSpec:
  for path, entry in described.items():
    shape, dtype = entry['shape'], np.dtype(entry['dtype'])
    sizes = all(isinstance(size, int) and size >= 0 for size in shape)
    if not sizes or math.prod(shape) > _MAX_NUMBERS or dtype.kind not in 'biuf':
      raise ValueError(f'{path} is {dtype} {shape}, expected an array')
  return specs.from_dict(described)


def _describe(
  leaf: np.ndarray | specs.Array, given: np.ndarray | None = None
) -> str:
  """Returns shape and dtype as text.

  Args:
    leaf: to describe.
    given: in its place, of a dtype that may stand for the leaf's.
  """
  dtype = np.dtype(leaf.dtype)
  if given is not None and np.can_cast(given.dtype, dtype, 'same_kind'):
    dtype = given.dtype
  return f'{dtype.name} {list(leaf.shape)}'
