"""Success over some episodes by a policy that does not explore."""

from collections.abc import Callable
import dataclasses

import dm_env
import jax
import numpy as np

from serl import environment_loop
from serl import types
from serl.agents import actors
from serl.agents import builder


@dataclasses.dataclass
class _Held:
  """Parameters that stay the same until they are replaced."""

  params: types.Params = None

  def update(self) -> None:
    """Nothing arrives during a sweep."""

  def metrics(self) -> dict[str, float]:
    """Nothing to tell: they are as old as the sweep."""
    return {}


class Evaluation:
  """Sweeps of episodes, each with the parameters it is given."""

  def __init__(self, environment: dm_env.Environment, policy: builder.Policy):
    """Initialises the evaluation.

    Args:
      environment: reports 'success' in `episode_metrics`.
      policy: of `Builder.make_policy(..., evaluation=True)`.
    """
    self._held = _Held()
    actor = actors.FeedForwardActor(policy, jax.random.PRNGKey(0), self._held)
    self._loop = environment_loop.EnvironmentLoop(environment, actor)

  def sweep(
    self,
    params: types.Params,
    episodes: int,
    should_stop: Callable[[], bool] = lambda: False,
  ) -> dict[str, float] | None:
    """Runs `episodes` episodes.

    Returns:
      'episodes', 'successes' (their count), 'success' (their rate) and the mean
      'episode_return' and 'episode_length'; None if it was stopped.
    """
    self._held.params = params
    runs = []
    for _ in range(episodes):
      metrics = self._loop.run_episode(should_stop)
      if metrics is None:
        return None
      runs.append(metrics)
    successes = sum(run.get('success', 0.0) for run in runs)
    return {
      'episodes': episodes,
      'successes': successes,
      'success': successes / episodes,
      'episode_return': float(np.mean([r['episode_return'] for r in runs])),
      'episode_length': float(np.mean([r['episode_length'] for r in runs])),
    }
