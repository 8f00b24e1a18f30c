"""Learning from demonstrations and experience, half and half."""

from serl.agents.rlpd.builder import RLPDBuilder as RLPDBuilder
from serl.agents.rlpd.config import RLPDConfig as RLPDConfig
