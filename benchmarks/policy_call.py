"""Times one action of the state policy, as the actor makes it.

Usage: python benchmarks/policy_call.py
"""

import time

import jax
import numpy as np
import report

from serl import core
from serl import specs
from serl.agents import actors
from serl.agents import variables
from serl.agents.sac import builder as sac_builder


class _Source:
  """Serves fixed parameters."""

  def __init__(self, params):
    self._params = params

  def get_variables(self, after: int) -> core.Variables | None:
    if after >= 0:
      return None
    return core.Variables(self._params, learner_steps=0, age=0.0)


def state_spec() -> specs.EnvironmentSpec:
  """Returns PickCube's spec: 10 numbers of state, 4 actions."""
  sizes = {'block_pos': 3, 'gripper_pos': 1, 'tcp_pos': 3, 'tcp_vel': 3}
  observations = {
    name: specs.BoundedArray((size,), np.float32, -1.0, 1.0)
    for name, size in sizes.items()
  }
  return specs.EnvironmentSpec(
    observations=observations,
    actions=specs.BoundedArray((4,), np.float32, -1.0, 1.0),
    rewards=specs.Array((), np.float32),
    discounts=specs.BoundedArray((), np.float32, 0.0, 1.0),
  )


def call_ms(evaluation: bool, calls: int = 1000) -> float:
  """Returns the median milliseconds of `select_action` and `update`."""
  spec = state_spec()
  builder = sac_builder.SACBuilder()
  networks = builder.make_networks(spec)
  state = builder.make_algorithm(networks).init(jax.random.PRNGKey(0))
  client = variables.VariableClient(_Source(builder.policy_params(state)))
  client.wait()
  policy = builder.make_policy(networks, evaluation)
  actor = actors.FeedForwardActor(policy, jax.random.PRNGKey(1), client)
  observation = specs.zeros_like(spec.observations)
  durations = []
  for _ in range(calls + 1):
    start = time.perf_counter()
    actor.select_action(observation)
    actor.update()
    durations.append(time.perf_counter() - start)
  client.close()
  return 1e3 * float(np.median(durations[1:]))


if __name__ == '__main__':
  report.emit(
    'policy_call_state',
    sampled_ms=call_ms(evaluation=False),
    mode_ms=call_ms(evaluation=True),
    reference_sampled_ms=0.50,
    reference_mode_ms=0.10,
  )
