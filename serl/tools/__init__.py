"""Command-line tools: `python -m serl.tools.NAME`."""

from serl.utils import environment_variables

# Before JAX, MuJoCo and Matplotlib are imported, which read theirs then.
environment_variables.prepare()
