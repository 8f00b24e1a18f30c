"""The environment variables that a launch gives its nodes."""

from collections.abc import Collection, Mapping, Sequence
import os

from serl.programs import distributed
from serl.programs.distributed import service

# With any of them the user has shared the accelerator's memory out already.
_MEMORY = (
  'XLA_CLIENT_MEM_FRACTION',
  'XLA_PYTHON_CLIENT_MEM_FRACTION',
  'XLA_PYTHON_CLIENT_PREALLOCATE',
  'XLA_PYTHON_CLIENT_ALLOCATOR',
)
_SHARED = 0.9  # of that memory; the rest is the driver's, of each process


def of_node(
  name: str,
  on_accelerator: Collection[str],
  names: Sequence[str],
  given: Mapping[str, str] = os.environ,
) -> dict[str, str]:
  """Returns the variables in which a node differs from its launcher.

  Args:
    name: of the node.
    on_accelerator: the kinds of nodes that compute beside the learners on an
      accelerator, 'actor' or 'evaluator'.
    names: of all nodes of the launch; a learner of each run.
    given: the launcher's own variables.
  """
  environment = {
    'TF_CPP_MIN_LOG_LEVEL': '2',
    # Launchpad takes these for a cluster of Vertex AI.
    'CLUSTER_SPEC': '',
    'TF_CONFIG': '',
  }
  learners = names.count(service.LEARNER)
  if name == service.LEARNER:
    # XLA's threads on a CPU. Those of several learners that each took all the
    # cores would wait for each other at every product.
    cores = len(os.sched_getaffinity(0)) // max(1, learners)
    environment['NPROC'] = str(max(1, cores))
  if _accelerates(name, on_accelerator):
    sharing = sum(_accelerates(each, on_accelerator) for each in names)
    if sharing > 1 and not any(given.get(variable) for variable in _MEMORY):
      # JAX takes three quarters for the first process that comes.
      environment['XLA_CLIENT_MEM_FRACTION'] = f'{_SHARED / sharing:.3f}'
  else:
    # The accelerator is the learner's; one thread is plenty for one
    # observation and leaves the cores to it.
    environment['JAX_PLATFORMS'] = 'cpu'
    if 'JAX_PLATFORM_NAME' in given:
      environment['JAX_PLATFORM_NAME'] = 'cpu'
    environment['OPENBLAS_NUM_THREADS'] = '1'
    environment['XLA_FLAGS'] = (
      '--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1'
    )
  if distributed.LIBRARY_FOLDER:
    paths = [distributed.LIBRARY_FOLDER, given.get('LD_LIBRARY_PATH', '')]
    environment['LD_LIBRARY_PATH'] = ':'.join(filter(None, paths))
  return environment


def _accelerates(name: str, on_accelerator: Collection[str]) -> bool:
  kind = name.split('_')[0]  # actors are numbered
  return kind == service.LEARNER or kind in on_accelerator
