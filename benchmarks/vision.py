"""What benchmarks of image agents share: a task's spec, batches of noise."""

import jax
import jax.numpy as jnp
import numpy as np

from serl import specs
from serl import types
from serl.testing import fakes

CAMERAS = ('front', 'wrist')
ACTION_SIZE = 4


def vision_spec(size: int) -> specs.EnvironmentSpec:
  """Returns the spec of the cube pick from two cameras."""
  image = specs.BoundedArray((size, size, 3), np.uint8, 0, 255)
  state = {'gripper_pos': 1, 'tcp_pos': 3, 'tcp_vel': 3}
  return specs.EnvironmentSpec(
    observations={
      **{camera: image for camera in CAMERAS},
      **{
        name: specs.BoundedArray((width,), np.float32, -1.0, 1.0)
        for name, width in state.items()
      },
    },
    actions=specs.BoundedArray((ACTION_SIZE,), np.float32, -1.0, 1.0),
    rewards=specs.Array((), np.float32),
    discounts=specs.BoundedArray((), np.float32, 0.0, 1.0),
  )


def make_batch(spec: specs.EnvironmentSpec, lead: tuple) -> types.Batch:
  """Returns a batch of noise on the device, with the leading axes `lead`."""
  return jax.tree.map(jnp.asarray, fakes.make_batch(spec, lead))
