"""RLax, imported when a function of it is first used.

`from serl.ops import lazy_rlax as rlax` stands for `import rlax`: the import
costs nothing until then, and works in any order with TensorFlow's.

RLax 0.1.7 imports distrax 0.1.5, the last one for Python 3.10, and that imports
TensorFlow Probability for JAX, which needs no TensorFlow but looks for one: to
copy docstrings, which takes ten times as long as all the rest, and, where it is
loaded already, to refuse other versions than its own. So `tensorflow` cannot be
imported meanwhile, by other threads neither: a program that needs it imports it
before its threads start to learn. Later releases of distrax do not look for it.
"""

from collections.abc import Iterator
import contextlib
import importlib
import sys
import threading
from typing import Any

_TENSORFLOW = 'tensorflow'
_lock = threading.Lock()


def __getattr__(name: str) -> Any:
  if name.startswith('__'):
    raise AttributeError(f'{__name__} has no {name!r}.')
  with _lock:
    if 'rlax' in sys.modules:
      return getattr(importlib.import_module('rlax'), name)
    with _without_tensorflow():
      return getattr(importlib.import_module('rlax'), name)


@contextlib.contextmanager
def _without_tensorflow() -> Iterator[None]:
  """Lets `import tensorflow` fail; its modules that are loaded stay so."""
  loaded = sys.modules.get(_TENSORFLOW)
  if loaded is not None:  # or another thread is about to: wait for that
    importlib.import_module(_TENSORFLOW)
  # The import system takes None for a module that does not exist.
  sys.modules[_TENSORFLOW] = None  # type: ignore[assignment]
  try:
    yield
  finally:
    del sys.modules[_TENSORFLOW]
    if loaded is not None:
      sys.modules[_TENSORFLOW] = loaded
