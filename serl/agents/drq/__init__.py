"""SAC from images, with random crops."""

from serl.agents.drq.builder import DrQBuilder as DrQBuilder
from serl.agents.drq.config import DrQConfig as DrQConfig
from serl.agents.drq.config import cpu as cpu
from serl.agents.drq.config import serl as serl
