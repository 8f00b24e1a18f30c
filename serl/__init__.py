"""serl: robot manipulation policies by reinforcement learning in minutes."""

__version__ = '0.1.0'
