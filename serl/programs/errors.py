"""How a run can end before its end."""


class NodeDiedError(RuntimeError):
  """A node ended with an error, or was killed."""


class NodeLateError(NodeDiedError):
  """Nodes that were asked to end did not, and were killed; no other failed."""


class FolderGoneError(OSError):
  """A run's folder was deleted or moved while the run went on."""


class NoUpdateError(RuntimeError):
  """A node has waited too long for the first update of the learner."""


class Interrupted(Exception):
  """The user stopped the run; the same command goes on with it."""
