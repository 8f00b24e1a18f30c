"""The server on the robot's computer; it needs nothing of serl."""
