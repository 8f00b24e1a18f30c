"""Times one action of a policy, as the actor makes it.

python benchmarks/policy_call.py
"""

import time

import jax
import numpy as np
import report
import vision

from serl import core
from serl import specs
from serl.agents import actors
from serl.agents import builder as builder_lib
from serl.agents import drq
from serl.agents import sac
from serl.agents import variables


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


def call_ms(
  builder: builder_lib.Builder,
  spec: specs.EnvironmentSpec,
  evaluation: bool,
  calls: int,
) -> float:
  """Returns the median milliseconds of `select_action` and `update`."""
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


def main() -> None:
  state, images = state_spec(), vision.vision_spec(128)
  small_images = vision.vision_spec(64)
  for name, builder, spec, reference, asked in (
    ('policy_call_state', sac.SACBuilder(), state, (0.50, 0.10), 0.2),
    ('policy_call_128', drq.DrQBuilder(), images, (4.7, None), 4.0),
    ('policy_call_64', drq.DrQBuilder(drq.cpu()), small_images, None, None),
  ):
    calls = 1000 if spec is state else 200
    report.emit(
      name,
      sampled_ms=call_ms(builder, spec, False, calls),
      mode_ms=call_ms(builder, spec, True, calls),
      reference_ms=reference,
      asked_sampled_ms=asked,
    )


if __name__ == '__main__':
  main()
