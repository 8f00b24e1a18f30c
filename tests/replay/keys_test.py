"""Keys of 64 bits as pairs of 32."""

import numpy as np

from serl.replay import keys


def test_keys_come_back():
  given = np.uint64([[0, 1, 2**32], [2**40 + 7, 2**63, 2**64 - 1]])
  pairs = keys.pack(given)
  assert pairs.shape == (2, 3, 2) and pairs.dtype == np.uint32
  np.testing.assert_array_equal(keys.unpack(pairs), given)
  # As they come back from a device, or out of a part of a batch.
  np.testing.assert_array_equal(keys.unpack(pairs[:, ::2]), given[:, ::2])
