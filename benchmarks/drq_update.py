"""Times DrQ's critic update beside the convolutions and products it needs.

python benchmarks/drq_update.py --batch=64 --size=128

The floor is a network with the same convolutions and products and nothing else:
no crops, biases, norms, activations, optimiser or targets. It is evaluated as
often as an update evaluates the real one: the encoder on the next observations
with the online and with the target parameters, on the observations forward and
backward; the policy; the critics.
"""

import dataclasses
import itertools

from absl import app
from absl import flags
import jax
import jax.numpy as jnp
import numpy as np
import report
import vision

from serl.agents import drq
from serl.agents.drq import learning as drq_learning
from serl.agents.sac import learning as sac_learning
from serl.agents.sac import losses

_BATCH = flags.DEFINE_integer('batch', 64, 'Rows of the minibatch.')
_SIZE = flags.DEFINE_integer('size', 128, 'Height and width of both images.')
_REPEATS = flags.DEFINE_integer('repeats', 15, 'Updates that are timed.')
_PRESET = flags.DEFINE_enum('preset', 'serl', ['serl', 'cpu'], 'Of DrQ.')

_LAYOUT = ('NHWC', 'HWIO', 'NHWC')


def update_ms(config: drq.DrQConfig, size: int) -> float:
  """Returns the time of augmentation, critic update and target update."""
  spec = vision.vision_spec(size)
  rows = config.sac.batch_size
  networks = drq.DrQBuilder(config).make_networks(spec)
  state = sac_learning.init(networks, config.sac, jax.random.PRNGKey(0))
  batch = vision.make_batch(spec, (1, rows))

  def update(state, batch):
    key, crop_key, noise_key = jax.random.split(state.key, 3)
    batch = drq_learning.augment(crop_key, batch, config.crop_padding)
    batch = jax.tree.map(lambda x: x[0], batch)
    noise = losses.draw_critic_noise(
      noise_key,
      rows,
      vision.ACTION_SIZE,
      config.sac.critic_members,
      config.sac.target_members,
    )
    state = state._replace(key=key)
    return sac_learning.critic_step(networks, config.sac, state, batch, noise)

  held = {'state': state}
  step = jax.jit(update, donate_argnums=0)

  def run():
    held['state'], metrics = step(held['state'], batch)
    return metrics, held['state'].params.critic

  return report.median_ms(run, _REPEATS.value)


def floor_ms(config: drq.DrQConfig, size: int) -> float:
  """Returns the time of the update's convolutions and products alone."""
  rows, members = config.sac.batch_size, config.sac.critic_members
  random = np.random.default_rng(0)
  draw = lambda *shape: jnp.asarray(random.normal(size=shape), jnp.float32)
  widths = (3, *config.encoder.features)
  kernels = [draw(3, 3, a, b) for a, b in itertools.pairwise(widths)]
  images = draw(rows, size, size, 3)

  def convolve(kernels, images):
    for kernel in kernels:
      images = jax.lax.conv_general_dilated(
        images, kernel, (2, 2), 'VALID', dimension_numbers=_LAYOUT
      )
    return images.mean((1, 2))

  embedding = config.encoder.bottleneck_size
  hidden = config.sac.hidden_sizes
  inputs = len(vision.CAMERAS) * embedding + config.encoder.proprioception_size
  dense = draw(widths[-1], embedding)

  def stack(lead, inputs):
    sizes = (inputs, *hidden, 1)
    return [draw(*lead, a, b) for a, b in itertools.pairwise(sizes)]

  policy = stack((), inputs)
  critic = stack((members,), inputs + vision.ACTION_SIZE)

  def multiply(weights, values):
    for weight in weights:
      values = values @ weight
    return values

  def encode(params, images):
    kernels, dense = params
    parts = [convolve(kernels, image) @ dense for image in images]
    padding = jnp.ones((rows, inputs - len(parts) * embedding))
    return jnp.concatenate([*parts, padding], -1)

  def value(params, critic, images):
    action = jnp.ones((rows, vision.ACTION_SIZE))
    joined = jnp.concatenate([encode(params, images), action], -1)
    joined = jnp.broadcast_to(joined, (critic[0].shape[0], *joined.shape))
    return jnp.mean(jnp.square(multiply(critic, joined)))

  drawn = [w[: config.sac.target_members] for w in critic]

  def update(params, target_params, critic, images, next_images):
    gradients = jax.grad(value, (0, 1))(params, critic, images)
    action = multiply(policy, encode(params, next_images))
    target = value(target_params, drawn, next_images)
    return gradients, action, target

  # Other arrays for everything that differs: else XLA computes it once.
  params = (kernels, dense)
  target_params = jax.tree.map(lambda x: x + 1, params)
  pictures = [images + i for i in range(2)]
  next_pictures = [images + i for i in range(2, 4)]
  step = jax.jit(update)
  return report.median_ms(
    lambda: step(params, target_params, critic, pictures, next_pictures),
    _REPEATS.value,
  )


def main(_):
  config = getattr(drq, _PRESET.value)()
  config = dataclasses.replace(
    config, sac=dataclasses.replace(config.sac, batch_size=_BATCH.value)
  )
  product_ms = report.product_ms()
  update = update_ms(config, _SIZE.value)
  floor = floor_ms(config, _SIZE.value)
  report.emit(
    'drq_critic_update',
    batch=_BATCH.value,
    size=_SIZE.value,
    preset=_PRESET.value,
    update_ms=update,
    floor_ms=floor,
    ratio_to_floor=update / floor,
    asked_ratio_to_floor=1.15,
    products=update / product_ms,
    product_ms=product_ms,
    reference_ms=1100.0 if (_BATCH.value, _SIZE.value) == (64, 128) else None,
  )


if __name__ == '__main__':
  app.run(main)
