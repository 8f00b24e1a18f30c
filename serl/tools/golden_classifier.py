"""Replays a golden file of the reference's reward classifier on this code."""

from collections.abc import Iterator, Mapping
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from serl.agents.classifier import importing
from serl.agents.classifier import networks as classifier_networks

# The arrays of a golden file by key.
Golden = Mapping[str, np.ndarray]
# (group, key in the file, what this code computes for it)
Computed = Iterator[tuple[str, str, Any]]

# What a replay takes from a file and therefore does not compare.
INPUTS = re.compile(r'(config|meta|input|params)/.*')


def is_golden(golden: Golden) -> bool:
  """Returns whether a file is one of the reward classifier."""
  return {'logits', 'logits_unbatched_first'} <= golden.keys()


def replay(golden: Golden) -> Computed:
  """Yields all that this code computes for a file."""
  arrays, images = (
    {k.removeprefix(part): x for k, x in golden.items() if k.startswith(part)}
    for part in ('params/', 'input/')
  )
  made = importing.from_serl(arrays, 'params/')
  # Without the reference's axis of stacked frames, of which there is one.
  observation = {path: jnp.asarray(x[:, 0]) for path, x in images.items()}
  classify = jax.jit(
    lambda params, x: classifier_networks.classify(made.networks, params, x)
  )
  yield 'logits', 'logits', classify(made.params, observation)[:, None]
  first = jax.tree.map(lambda x: x[:1], observation)
  key = 'logits_unbatched_first'
  yield key, key, classify(made.params, first)
