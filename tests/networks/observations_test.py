"""Tests of observations."""

import jax
import numpy as np
import pytest

from serl import specs
from serl.networks import observations

SPEC = {
  'tcp_pos': specs.BoundedArray((2,), np.float32, [0.0, -1.0], [4.0, 1.0]),
  'block': specs.Array((1,), np.float32),
  'phase': specs.BoundedArray((), np.float64, -np.inf, 3.0),
}
OBSERVATION = {
  'tcp_pos': np.array([[1.0, 0.5], [4.0, -1.0]], np.float32),
  'block': np.array([[7.0], [8.0]], np.float32),
  'phase': np.array([2.0, 3.0]),
}


@pytest.mark.parametrize('wrap', [lambda f: f, jax.jit])
def test_sorted_by_name_and_scaled_where_bounded(wrap):
  flatten = wrap(observations.make_flatten(SPEC))
  expected = [[7.0, 2.0, -0.5, 0.5], [8.0, 3.0, 1.0, -1.0]]
  np.testing.assert_allclose(flatten(OBSERVATION), expected)


def test_unscaled_where_asked():
  flat = observations.make_flatten(SPEC, scale=False)(OBSERVATION)
  assert flat.dtype == np.float32
  np.testing.assert_allclose(flat, [[7, 2, 1, 0.5], [8, 3, 4, -1]])


def test_a_bare_array_and_several_leading_axes():
  spec = specs.BoundedArray((2,), np.float32, 0.0, 2.0)
  flatten = observations.make_flatten(spec)
  assert flatten(np.zeros((3, 5, 2), np.float32)).shape == (3, 5, 2)
  np.testing.assert_allclose(flatten(np.array([0.0, 2.0])), [-1, 1])
  assert observations.flat_size(spec) == 2
  assert observations.flat_size(SPEC) == 4


def test_bounds_of_the_whole_type_are_no_bounds():
  limits = np.finfo(np.float32)
  spec = specs.BoundedArray((1,), np.float32, limits.min, limits.max)
  flatten = observations.make_flatten(spec)
  np.testing.assert_allclose(flatten(np.array([3.0], np.float32)), [3.0])


def test_names_what_is_wrong():
  flatten = observations.make_flatten(SPEC)
  with pytest.raises(ValueError, match=r'block.*its spec has'):
    flatten({'block': OBSERVATION['block']})
  with pytest.raises(ValueError, match=r'tcp_pos has shape \(2, 3\)'):
    flatten({**OBSERVATION, 'tcp_pos': np.zeros((2, 3))})
