"""Environments of other libraries as `dm_env` ones that agents can train in."""

from serl.environments.adapters.dm_control_adapter import DMControl as DMControl
from serl.environments.adapters.dm_control_adapter import (
  from_dm_control as from_dm_control,
)
