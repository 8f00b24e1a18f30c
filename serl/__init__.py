"""serl: robot manipulation policies by reinforcement learning in minutes."""

import importlib
from typing import Any

__version__ = '0.1.0'

# What is imported when it is first asked for: JAX takes its time.
_LAZY = {'load_policy': 'serl.policies', 'Policy': 'serl.policies'}


def __getattr__(name: str) -> Any:
  if name not in _LAZY:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
  return sorted([*globals(), *_LAZY])
