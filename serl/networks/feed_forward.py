"""A network as two pure functions."""

from collections.abc import Callable
from typing import Any, NamedTuple

from serl import types


class FeedForward(NamedTuple):
  """A network: its parameters are made by `init` and read by `apply`."""

  init: Callable[[types.PRNGKey], types.Params]
  apply: Callable[..., Any]  # (params, *inputs) -> outputs
