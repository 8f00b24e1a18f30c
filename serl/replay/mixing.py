"""How many transitions of a minibatch come from each table."""

from collections.abc import Sequence

from serl.agents import builder


def shares(
  table_specs: Sequence[builder.TableSpec], batch_size: int
) -> dict[str, int]:
  """Returns the transitions of one minibatch by table; they sum to the batch.

  The mix is exact in every minibatch, not in expectation: with few transitions
  from the demonstrations a lucky draw would be a noisy one.

  Raises:
    ValueError: a fraction does not make whole transitions, or they do not sum
      to one.
  """
  counted = {}
  for table in table_specs:
    share = table.fraction * batch_size
    if abs(share - round(share)) > 1e-6 or round(share) < 1:
      raise ValueError(
        f'Table {table.name!r} has the fraction {table.fraction} of a batch of '
        f'{batch_size}, which is {share:g} transitions, expected a whole '
        'number of at least 1. Change batch_size or the fraction.'
      )
    counted[table.name] = round(share)
  if sum(counted.values()) != batch_size:
    raise ValueError(
      f'The fractions of the tables give {counted}, which does not sum to the '
      f'batch size {batch_size}.'
    )
  return counted
