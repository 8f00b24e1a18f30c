"""From labelled episodes to a classifier and the report on it."""

from collections.abc import Sequence

from absl import logging
import numpy as np

from serl import types
from serl.agents.classifier import config as classifier_config
from serl.agents.classifier import data
from serl.agents.classifier import learning
from serl.agents.classifier import networks as classifier_networks
from serl.agents.classifier import report as report_lib
from serl.agents.classifier import saving


def train(
  config: classifier_config.ClassifierConfig,
  episodes: Sequence[types.Episode],
  seed: int = 0,
) -> tuple[saving.Classifier, report_lib.Report]:
  """Trains on most of the episodes and tests on the others.

  Args:
    config: of the classifier and its training.
    episodes: with `extras['success']`; see `data.from_episodes`.
    seed: of the split, the parameters and all draws.

  Returns:
    The classifier, with the threshold that the report proposes, and the report.

  Raises:
    ValueError: the episodes are not what `data` asks for.
    FloatingPointError: training diverged.
  """
  if not episodes:
    raise ValueError('There are no episodes to learn from; record some.')
  networks = classifier_networks.make_networks(
    data.observation_spec(episodes[0]), config.network
  )
  examples = data.from_episodes(episodes, networks.image_spec)
  training, held_out = data.split(examples, config.held_out_fraction, seed)
  for part, name in ((training, 'Training'), (held_out, 'Testing')):
    successes = int(np.sum(part.success))
    logging.info(
      '%s with %d successes and %d failures of %d episodes.',
      name,
      successes,
      len(part.success) - successes,
      len(np.unique(part.episode)),
    )
  params = learning.fit(networks, config, training, seed)
  report = report_lib.make_report(
    held_out,
    learning.probabilities(networks, params, held_out.images),
    config.false_positive_rate,
  )
  trained = saving.Classifier(
    config.network, networks, params, report.threshold, report.describe()
  )
  return trained, report


def test(
  trained: saving.Classifier,
  episodes: Sequence[types.Episode],
  wanted_rate: float | None = None,
  threshold: float | None = None,
) -> report_lib.Report:
  """Tests a classifier on episodes that it has never seen.

  Args:
    trained: the classifier.
    episodes: with `extras['success']`.
    wanted_rate: of false positives, for the report; by default that which its
      threshold was chosen for.
    threshold: to test; None for the classifier's own.

  Raises:
    ValueError: the episodes are not what `data` asks for.
  """
  if wanted_rate is None:
    wanted_rate = trained.report.get('false_positive_rate_wanted', 0.01)
  examples = data.from_episodes(episodes, trained.networks.image_spec)
  probability = learning.probabilities(
    trained.networks, trained.params, examples.images
  )
  return report_lib.make_report(
    examples,
    probability,
    wanted_rate,
    trained.threshold if threshold is None else threshold,
  )
