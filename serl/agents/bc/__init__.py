"""Behaviour cloning: supervised learning from demonstrations alone."""

from serl.agents.bc.builder import BCBuilder as BCBuilder
from serl.agents.bc.config import BCConfig as BCConfig
from serl.agents.bc.config import cpu as cpu
