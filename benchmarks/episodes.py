"""How large episodes are on disk, how fast they are read, how a log opens.

python benchmarks/episodes.py --files=20000

The images are those of the cube pick, two cameras, then noise, which cannot be
compressed. Beside them stand the same arrays as numpy writes and reads them,
with a sha256 of all: what episodes were before they were compressed. A cold
read is one after the kernel has dropped the file from its cache.
"""

from collections.abc import Callable
import hashlib
import os
import pathlib
import shutil
import statistics
import tempfile
import time

from absl import app
from absl import flags
import numpy as np
import replay_vision
import report
import vision

from serl import specs
from serl import types
from serl.demos import files
from serl.demos import index
from serl.demos import log as log_lib
from serl.testing import fakes

_REPEATS = flags.DEFINE_integer('repeats', 20, 'Reads of each kind.')
_FILES = flags.DEFINE_integer('files', 20_000, 'Episodes of the log.')


def write_plain(path: pathlib.Path, episode: types.Episode) -> None:
  """Writes an episode's arrays as they are."""
  np.savez(path, **specs.flatten(episode._asdict()))
  descriptor = os.open(path, os.O_RDONLY)
  os.fsync(descriptor)
  os.close(descriptor)


def read_plain(path: pathlib.Path) -> str:
  """Reads an episode's arrays and returns their sha256."""
  digest = hashlib.sha256()
  with np.load(path) as archive:
    for name in archive.files:
      digest.update(np.ascontiguousarray(archive[name]).data)
  return digest.hexdigest()


def median_ms(fn: Callable[[], object], before: Callable[[], object]) -> float:
  """Returns the median time of `fn()`, each after `before()`."""
  durations = []
  for _ in range(_REPEATS.value):
    before()
    start = time.perf_counter()
    fn()
    durations.append(time.perf_counter() - start)
  return 1e3 * statistics.median(durations)


def cpu_ms(fn: Callable[[], object]) -> float:
  """Returns the median time of a processor that `fn()` takes."""
  durations = []
  for _ in range(_REPEATS.value):
    start = time.process_time()
    fn()
    durations.append(time.process_time() - start)
  return 1e3 * statistics.median(durations)


def drop(path: pathlib.Path) -> None:
  """Has the kernel forget what it has read of a file."""
  descriptor = os.open(path, os.O_RDONLY)
  os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
  os.close(descriptor)


def measure_episode(kind: str, folder: pathlib.Path) -> dict[str, float]:
  """Returns size and times of an episode of 100 steps of two cameras."""
  episode = replay_vision.make_episodes(kind)[0]
  spec = vision.vision_spec(128)
  ours, plain = folder / f'{kind}.npz', folder / f'{kind}_plain.npz'

  def write() -> None:
    ours.unlink(missing_ok=True)
    files.write(ours, episode, spec)

  found = {
    'write_ms': median_ms(write, lambda: None),
    'plain_write_ms': median_ms(
      lambda: write_plain(plain, episode), lambda: None
    ),
  }
  for state, before in (('warm', lambda _: None), ('cold', drop)):
    # In turns: the machine's other load is then the same for both.
    read = lambda b=before: median_ms(
      lambda: files.read(ours, spec), lambda: b(ours)
    )
    plainly = lambda b=before: median_ms(
      lambda: read_plain(plain), lambda: b(plain)
    )
    found[f'{state}_read_ms'] = read()
    found[f'{state}_plain_read_ms'] = plainly()
    ratio = found[f'{state}_read_ms'] / found[f'{state}_plain_read_ms']
    found[f'{state}_read_to_plain'] = ratio
  # Which other processes do not disturb.
  found['read_cpu_ms'] = cpu_ms(lambda: files.read(ours, spec))
  found['plain_read_cpu_ms'] = cpu_ms(lambda: read_plain(plain))
  return {
    'megabytes': ours.stat().st_size / 1e6,
    'plain_megabytes': plain.stat().st_size / 1e6,
    **found,
  }


def measure_log(folder: pathlib.Path) -> dict[str, float]:
  """Returns how long a log of many episodes takes to open."""
  spec = fakes.make_state_spec()
  log_lib.EpisodeLog(folder, spec).append(fakes.make_episode(spec, 100))
  for number in range(1, _FILES.value):
    shutil.copy(folder / '000000.npz', folder / f'{number:06d}.npz')
  (folder / index.NAME).unlink()
  found = {}
  for name in ('seconds_without_index', 'seconds'):
    start = time.perf_counter()
    log_lib.EpisodeLog(folder, spec)
    found[name] = time.perf_counter() - start
  return found


def main(_):
  with tempfile.TemporaryDirectory(dir='.') as folder:
    folder = pathlib.Path(folder)
    for kind in ('rendered', 'noise'):
      report.emit(
        'episodes',
        images=kind,
        asked_read_to_plain=1.0,
        **measure_episode(kind, folder),
      )
    report.emit(
      'episode_log',
      files=_FILES.value,
      asked_seconds=5,
      **measure_log(folder / 'log'),
    )


if __name__ == '__main__':
  app.run(main)
