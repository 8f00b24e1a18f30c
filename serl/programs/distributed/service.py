"""What the other nodes ask of a learner: both ends of each call.

`methods` is the learner's end, `RemoteLearner` that of an actor or evaluator.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from serl import core
from serl import specs
from serl import types
from serl.programs.distributed import rpc

LEARNER = 'learner'  # the name of its node
_CALL_S = 5.0
# Parameters and episodes are megabytes, and the other machine may be busy.
_TRANSFER_S = 60.0


class Progress(NamedTuple):
  """How a learner stands, for one of the nodes that it serves.

  Fields:
    over: why the run is over; '' while it is not.
    starting: what it does before it can update; '' from then on, when others
      may act.
    overdue: for how many of the steps that it has its next round has been due;
      None where it waits for steps itself.
    wanted: the number of the next episode that it wants of the node.
    learner_steps: the rounds that it has done.
  """

  over: str = ''
  starting: str = ''
  overdue: float | None = None
  wanted: int = 0
  learner_steps: int = 0


class Learner(Protocol):
  """What a learner answers; see `learner.Learner`."""

  def differences(self, described: Mapping[str, Any]) -> list[str]:
    """Returns in what a node's run differs from this one, a line each."""

  def get_variables(self, after: int) -> core.Variables | None:
    """Returns newer policy parameters; see `core.VariableSource`."""

  def inserted_episodes(self, actor: str) -> int:
    """Returns the number of the next episode that is wanted of an actor."""

  def insert_episode(
    self, actor: str, index: int, episode: types.Episode
  ) -> int:
    """Inserts the episode with number `index` if it is the one that is wanted.

    Returns:
      The number of the next one that is wanted.

    Raises:
      ValueError: the episode does not fit the environment's spec.
    """

  def pass_over(self, actor: str, begin: int, end: int, steps: int) -> int:
    """Wants no episodes with numbers from `begin` up to `end` any more.

    Returns:
      The number of the next one that is wanted.
    """

  def progress(self, caller: str) -> Progress:
    """Returns how it stands, for the node with the name `caller`."""

  def evaluated(self, found: Mapping[str, float]) -> None:
    """Takes a sweep of the evaluator, see `evaluation.summarize`."""


def methods(learner: Learner) -> dict[str, rpc.Method]:
  """Returns the calls that a learner answers, by their names."""

  def get_variables(message: rpc.Message) -> rpc.Message:
    variables = learner.get_variables(int(message.fields['after']))
    if variables is None:
      return rpc.Message()
    fields = variables._replace(params=None)._asdict()
    return rpc.Message(fields, dict(_named_leaves(variables.params)))

  def insert_episode(message: rpc.Message) -> rpc.Message:
    actor, index = message.fields['actor'], message.fields['index']
    episode = types.Episode(**specs.unflatten(message.arrays))
    return _result(learner.insert_episode(str(actor), int(index), episode))

  def pass_over(message: rpc.Message) -> rpc.Message:
    numbers = (int(message.fields[n]) for n in ('begin', 'end', 'steps'))
    return _result(learner.pass_over(str(message.fields['actor']), *numbers))

  return {
    'differences': lambda m: _result(learner.differences(m.fields)),
    'get_variables': get_variables,
    'inserted_episodes': lambda m: _result(
      learner.inserted_episodes(str(m.fields['actor']))
    ),
    'insert_episode': insert_episode,
    'pass_over': pass_over,
    'progress': lambda m: rpc.Message(
      learner.progress(str(m.fields['caller']))._asdict()
    ),
    'evaluated': lambda m: _result(learner.evaluated(m.fields)),
  }


class RemoteLearner(Learner):
  """A learner in another process, on this machine or elsewhere.

  Every method raises `rpc.CallError` where the learner does not answer in time.
  """

  def __init__(
    self, client: rpc.Client, make_params_like: Callable[[], types.Params]
  ):
    """Initialises the learner's handle.

    Args:
      client: calls the learner's process.
      make_params_like: returns a tree of the shapes and dtypes of the policy's
        parameters; called by the first `get_variables`.
    """
    self._client = client
    self._make_params_like = make_params_like
    self._like: tuple[dict[str, Any], Any] | None = None

  def differences(self, described: Mapping[str, Any]) -> list[str]:
    """Returns in what this node's run differs from the learner's."""
    return self._call('differences', _CALL_S, described)

  def get_variables(self, after: int) -> core.Variables | None:
    """Returns newer policy parameters; see `core.VariableSource`.

    Raises:
      ValueError: they are the parameters of another agent.
    """
    fields, arrays = self._client.call(
      'get_variables', rpc.Message({'after': after}), _TRANSFER_S
    )
    if not fields:
      return None
    return core.Variables(**{**fields, 'params': self._unflatten(arrays)})

  def inserted_episodes(self, actor: str) -> int:
    """Returns the number of the next episode that is wanted of an actor."""
    return self._call('inserted_episodes', _CALL_S, {'actor': actor})

  def insert_episode(
    self, actor: str, index: int, episode: types.Episode
  ) -> int:
    """Inserts an episode if it is wanted; returns which one is next."""
    # Of the extras, which training does not read, a message takes numbers.
    extras = {
      name: column
      for name, column in episode.extras.items()
      if np.asarray(column).dtype.kind in 'biuf'
    }
    episode = episode._replace(extras=extras)
    return self._call(
      'insert_episode',
      _TRANSFER_S,
      {'actor': actor, 'index': index},
      specs.flatten(episode._asdict()),
    )

  def pass_over(self, actor: str, begin: int, end: int, steps: int) -> int:
    """Has the learner want no episodes of numbers from `begin` up to `end`."""
    return self._call(
      'pass_over',
      _CALL_S,
      {'actor': actor, 'begin': begin, 'end': end, 'steps': steps},
    )

  def progress(self, caller: str) -> Progress:
    """Returns how the learner stands, for the node with the name `caller`."""
    message = rpc.Message({'caller': caller})
    return Progress(**self._client.call('progress', message, _CALL_S).fields)

  def evaluated(self, found: Mapping[str, float]) -> None:
    """Gives the learner a sweep."""
    return self._call('evaluated', _CALL_S, found)

  def _call(
    self,
    method: str,
    timeout_s: float,
    fields: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray] | None = None,
  ) -> Any:
    message = rpc.Message(fields, arrays or {})
    return self._client.call(method, message, timeout_s).fields['result']

  def _unflatten(self, arrays: Mapping[str, np.ndarray]) -> types.Params:
    """Returns arrays by their paths as the tree of the policy's parameters."""
    if self._like is None:
      like = self._make_params_like()
      self._like = dict(_named_leaves(like)), jax.tree.structure(like)
    leaves, structure = self._like
    lines = specs.differences(
      {path: (array.shape, array.dtype.name) for path, array in arrays.items()},
      {path: (leaf.shape, leaf.dtype.name) for path, leaf in leaves.items()},
    )
    if lines:
      raise ValueError(
        "The learner's parameters are those of another agent; start both with "
        'the same agent and task:\n  ' + '\n  '.join(lines)
      )
    return jax.tree.unflatten(structure, [arrays[path] for path in leaves])


def _result(value: Any) -> rpc.Message:
  return rpc.Message({'result': value})


def _named_leaves(tree: Any) -> list[tuple[str, Any]]:
  """Returns the leaves of a tree in order, each with its path."""
  return [
    (jax.tree_util.keystr(path), leaf)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  ]
