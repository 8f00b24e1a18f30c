"""Tests for specs."""

import numpy as np
import pytest

from serl import specs
from serl.testing import fakes


@pytest.mark.parametrize(
  'spec',
  [
    fakes.make_image_spec().observations,
    fakes.make_state_spec().observations,
    fakes.make_state_spec().actions,
    specs.BoundedArray((2,), np.float32, [-1.0, -0.1], [1.0, 0.3]),
  ],
)
def test_a_described_spec_comes_back(spec):
  described = specs.to_dict(spec)
  again = specs.from_dict(described)
  assert specs.to_dict(again) == described
  for path, leaf in specs.flatten(again).items():
    assert leaf == specs.flatten(spec)[path]
