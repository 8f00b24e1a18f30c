"""Soft actor-critic, and its relatives by configuration."""

from serl.agents.sac.builder import SACBuilder as SACBuilder
from serl.agents.sac.config import SACConfig as SACConfig
from serl.agents.sac.config import cpu as cpu
from serl.agents.sac.config import redq as redq
from serl.agents.sac.config import sac as sac
from serl.agents.sac.config import serl as serl
from serl.agents.sac.config import td3_like as td3_like
