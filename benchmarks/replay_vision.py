"""How fast the replay takes, keeps and gives transitions of two cameras.

python benchmarks/replay_vision.py --transitions=3000

A Reverb server in a process of its own holds the table, as in a run. The images
are those of the cube pick, then drawn shapes, then noise: it cannot be
compressed, with it the memory is the worst case.
"""

from collections.abc import Mapping
import dataclasses
import multiprocessing
import statistics
import time

from absl import app
from absl import flags
import numpy as np
import portpicker
import psutil
import report
import reverb
import vision

from serl import types
from serl.agents import builder
from serl.environments.sim import pick_cube
from serl.replay import iterators
from serl.replay import packing as packing_lib
from serl.replay import tables as tables_lib
from serl.replay import writing
from serl.teleop import scripted

_TRANSITIONS = flags.DEFINE_integer('transitions', 3000, 'Inserted in all.')
_SIZE = flags.DEFINE_integer('size', 128, 'Height and width of both images.')
_BATCHES = flags.DEFINE_integer('batches', 40, 'Batches drawn of each size.')

_LENGTH = 100  # steps an episode


def table() -> builder.TableSpec:
  """Returns the table: large enough to keep everything."""
  return builder.TableSpec(name='replay', max_size=200_000, min_size=1)


def draw_noise(random: np.random.Generator, shape: tuple) -> np.ndarray:
  """Returns images that cannot be compressed."""
  return random.integers(0, 256, shape, np.uint8)


def draw_shapes(random: np.random.Generator, shape: tuple) -> np.ndarray:
  """Returns images of a square that moves over a floor."""
  images = np.full(shape, 180, np.uint8)
  images[:, : shape[1] // 3] = 120
  for t in range(len(images)):
    images[t, 20 + t // 4 : 36 + t // 4, 20:36] = (200, 50, 40)
  return images


def make_episode(spec, seed: int, draw) -> types.Episode:
  """Returns an episode of random numbers and of images by `draw`."""
  random = np.random.default_rng(seed)
  rows = _LENGTH + 1

  def column(leaf):
    shape = (rows, *leaf.shape)
    if leaf.dtype == np.uint8:
      return draw(random, shape)
    return random.uniform(-1, 1, shape).astype(np.float32)

  return types.Episode(
    observation={k: column(v) for k, v in spec.observations.items()},
    action=column(spec.actions)[1:],
    reward=np.zeros(_LENGTH, np.float32),
    discount=np.ones(_LENGTH, np.float32),
  )


def film(seed: int) -> Mapping[str, np.ndarray]:
  """Returns what the cameras of the cube pick see of its expert, by name."""
  config = dataclasses.replace(pick_cube.VISION, image_size=_SIZE.value)
  environment = pick_cube.make_vision(seed=seed, config=config)
  expert = scripted.PickCubeExpert(environment=environment)
  frames = {camera: [] for camera in vision.CAMERAS}
  timestep = environment.reset()
  expert.observe_first(timestep)
  for _ in range(_LENGTH + 1):
    for camera, images in frames.items():
      images.append(timestep.observation[camera])
    timestep = environment.step(expert.select_action(timestep.observation))
  environment.close()
  return {camera: np.stack(images) for camera, images in frames.items()}


def make_episodes(kind: str) -> list[types.Episode]:
  """Returns some episodes whose images are 'noise', 'shapes' or 'rendered'."""
  spec = vision.vision_spec(_SIZE.value)
  draw = draw_shapes if kind == 'shapes' else draw_noise
  episodes = [make_episode(spec, seed, draw) for seed in range(4)]
  if kind != 'rendered':
    return episodes
  return [
    episode._replace(observation={**episode.observation, **film(seed)})
    for seed, episode in enumerate(episodes)
  ]


def _serve(port: int, size: int, ready) -> None:
  spec = vision.vision_spec(size)
  server = reverb.Server(tables_lib.make_tables([table()], spec), port=port)
  ready.set()
  server.wait()


def measure(kind: str) -> dict[str, float]:
  """Returns what inserting and sampling came to."""
  episodes = make_episodes(kind)
  context = multiprocessing.get_context('spawn')
  port, ready = portpicker.pick_unused_port(), context.Event()
  process = context.Process(
    target=_serve, args=(port, _SIZE.value, ready), daemon=True
  )
  process.start()
  ready.wait()
  spec = vision.vision_spec(_SIZE.value)
  address = f'localhost:{port}'
  client, packing = reverb.Client(address), packing_lib.Packing(spec)
  server = psutil.Process(process.pid)
  writing.insert(client, packing, episodes[0], ['replay'])
  before = server.memory_info().rss
  start, inserted = time.perf_counter(), 0
  while inserted < _TRANSITIONS.value:
    episode = episodes[inserted // _LENGTH % len(episodes)]
    writing.insert(client, packing, episode, ['replay'])
    inserted += _LENGTH
  seconds = time.perf_counter() - start
  grown = server.memory_info().rss - before
  raw = 2 * 3 * _SIZE.value**2
  found = {
    'inserts_per_second': inserted / seconds,
    'bytes_per_transition': grown / inserted,
    'bytes_to_raw': grown / inserted / raw,
  }
  for rows in (64, 256):
    found |= _sample(address, spec, rows, raw)
  process.kill()
  return found


def _sample(address, spec, rows: int, raw: int) -> dict[str, float]:
  iterator = iterators.make_iterator(
    address, [table()], spec, builder.BatchSpec(1, rows)
  )
  durations = []
  for _ in range(_BATCHES.value + 3):
    start = time.perf_counter()
    next(iterator)
    durations.append(time.perf_counter() - start)
  mean = statistics.mean(durations[3:])
  return {
    f'batches_of_{rows}_per_second': 1 / mean,
    f'bytes_per_second_{rows}': 2 * raw * rows / mean,
  }


def main(_):
  for kind in ('rendered', 'shapes', 'noise'):
    report.emit(
      'replay_vision',
      size=_SIZE.value,
      images=kind,
      asked_inserts_per_second=2000,
      asked_bytes_to_raw=1.1,
      reference={'inserts': 3600, 'batches_of_64': 640, 'batches_of_256': 148},
      **measure(kind),
    )


if __name__ == '__main__':
  app.run(main)
