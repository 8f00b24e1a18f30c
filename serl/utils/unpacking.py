"""How much a file may unpack to, as a rule that its size gives."""

# Frames of a dark camera compress over 1,000 times; 128 MiB hold 1,300 steps of
# two such cameras of 128 x 128. Whatever is larger has to be as large as
# pictures and numbers of a sensor are, which noise keeps above a hundredth.
FREE_BYTES = 128 * 2**20
MAX_RATIO = 100


def is_believed(unpacked: int, packed: int) -> bool:
  """Returns whether `unpacked` bytes may come out of a file of `packed`."""
  return unpacked <= limit(packed)


def limit(packed: int) -> int:
  """Returns how many bytes may come out of a file of `packed` bytes."""
  return max(FREE_BYTES, MAX_RATIO * packed)
