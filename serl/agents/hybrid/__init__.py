"""A discrete critic of the gripper beside the continuous policy."""

from serl.agents.hybrid.builder import HybridBuilder as HybridBuilder
from serl.agents.hybrid.config import HybridConfig as HybridConfig
