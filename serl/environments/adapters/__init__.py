"""Environments of other libraries as `dm_env` ones that agents can train in."""

from serl.environments.adapters.dm_control_adapter import DMControl as DMControl
from serl.environments.adapters.dm_control_adapter import (
  from_dm_control as from_dm_control,
)
from serl.environments.adapters.gymnasium_adapter import Gymnasium as Gymnasium
from serl.environments.adapters.gymnasium_adapter import (
  from_gymnasium as from_gymnasium,
)
from serl.environments.adapters.preparation import agent_ready as agent_ready
