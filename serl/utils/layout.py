"""Names in a run's folder that more than one room reads; see `run_folder`."""

CONFIG = 'config.json'  # what makes the run this run
CHECKPOINTS = 'checkpoints'  # the learner's training state and counters
BEST_POLICY = 'best_policy'  # that did best in a sweep of the evaluator
