"""Every constant of RLPD."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class RLPDConfig:
  """What RLPD adds to an agent."""

  # Part of each minibatch that is drawn from the demonstrations.
  demonstration_fraction: float = 0.5
  # Transitions that the demonstration table keeps; interventions go there too.
  max_demonstrations: int = 200_000

  def __post_init__(self):
    """Checks the values.

    Raises:
      ValueError: with the offending value and what was expected.
    """
    if not 0 < self.demonstration_fraction < 1:
      raise ValueError(
        'RLPDConfig.demonstration_fraction is '
        f'{self.demonstration_fraction!r}, expected in (0, 1); without '
        'demonstrations leave RLPDBuilder out.'
      )
    if self.max_demonstrations < 1:
      raise ValueError(
        f'RLPDConfig.max_demonstrations is {self.max_demonstrations!r}, '
        'expected at least 1.'
      )
