"""Every constant of RLPD."""

import dataclasses
from typing import Annotated

from serl import configs
from serl.agents import builder

_Part = Annotated[
  float,
  configs.Bounds(0, 1, '()'),
  configs.advice('- without demonstrations leave RLPDBuilder out'),
]


@dataclasses.dataclass(frozen=True)
class RLPDConfig:
  """What RLPD adds to an agent."""

  # Part of each minibatch that is drawn from the demonstrations.
  demonstration_fraction: _Part = 0.5
  # Transitions that the demonstration table keeps; interventions go there too.
  max_demonstrations: configs.Count = 200_000
  # The name of the demonstrations, and of their table; another one where
  # RLPDBuilder is around RLPDBuilder, which draws from both.
  source: configs.Word = builder.DEMONSTRATIONS

  def __post_init__(self):
    configs.check(self)
    is_shown = self.source not in (builder.ONLINE, builder.GOALS)
    configs.demand(self, ('source', is_shown, 'the name of demonstrations'))
