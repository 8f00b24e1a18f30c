"""How good a classifier is on episodes that it was not trained with."""

from collections.abc import Mapping
import json
import os
import pathlib
from typing import Any, NamedTuple

from absl import logging
from matplotlib import axes as axes_lib
from matplotlib import figure as figure_lib
import numpy as np

from serl.agents.classifier import data
from serl.agents.classifier import roc

_PICTURES = 8  # of the failures that look most like a success
_COLOR = '#1f5fa8'


class Report(NamedTuple):
  """A classifier's probabilities, and what a threshold makes of them."""

  examples: data.Examples
  probability: np.ndarray  # [N] of success
  threshold: float  # above it is success
  wanted_rate: float  # of false positives

  def describe(self) -> dict[str, Any]:
    """Returns the numbers as plain data.

    The images of an episode resemble each other, so that the bound on the rate
    of false positives, made for independent ones, is a hopeful one; the count
    of episodes with a false positive is not.
    """
    examples, threshold = self.examples, self.threshold
    counts = roc.confusion(self.probability, examples.success, threshold)
    false = (self.probability > threshold) & ~examples.success
    failures = counts.false_positives + counts.true_negatives
    successes = counts.true_positives + counts.false_negatives
    return {
      'area_under_curve': roc.curve(self.probability, examples.success).area,
      'threshold': threshold,
      'false_positive_rate_wanted': self.wanted_rate,
      'false_positive_rate': counts.false_positives / failures,
      'false_positive_rate_at_most': roc.rate_bound(
        counts.false_positives, failures
      ),
      'true_positive_rate': counts.true_positives / successes,
      'confusion': counts._asdict(),
      'episodes': len(np.unique(examples.episode)),
      'episodes_with_a_false_positive': len(np.unique(examples.episode[false])),
    }


def make_report(
  examples: data.Examples,
  probability: np.ndarray,
  wanted_rate: float = 0.01,
  threshold: float | None = None,
) -> Report:
  """Makes the report of a classifier.

  Args:
    examples: that it was not trained with.
    probability: [N], what it gave for them.
    wanted_rate: of false positives, in [0, 1).
    threshold: above which a probability counts as success; None proposes the
      least that keeps to `wanted_rate` here. That choice is made on these very
      examples: try it on others.

  Raises:
    ValueError: the wanted rate or the threshold is no rate.
  """
  if not 0 <= wanted_rate < 1:
    raise ValueError(
      f'The wanted rate of false positives is {wanted_rate!r}, expected in '
      '[0, 1), such as 0.01.'
    )
  # As in use: a threshold is not rounded to the probabilities' precision.
  probability = np.asarray(probability, np.float64)
  if threshold is None:
    threshold = roc.propose_threshold(
      probability, examples.success, wanted_rate
    )
    if threshold == 1:
      logging.warning(
        'No threshold keeps to %g of false positives: failures have the '
        'probability 1. With the threshold 1 nothing is a success. Look at the '
        'worst in the report and train with more like them.',
        wanted_rate,
      )
  if not 0 <= threshold <= 1:
    raise ValueError(
      f'The threshold is {threshold!r}, expected a probability in [0, 1].'
    )
  return Report(examples, probability, threshold, wanted_rate)


def write(report: Report, folder: str | os.PathLike) -> list[pathlib.Path]:
  """Writes report.json and report.png; returns their paths.

  Args:
    report: to write; an old one is replaced.
    folder: it is made where there is none.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  paths = [folder / 'report.json', folder / 'report.png']
  paths[0].write_text(json.dumps(report.describe(), indent=2) + '\n')
  draw(report).savefig(paths[1], dpi=110)
  return paths


def draw(report: Report) -> figure_lib.Figure:
  """Draws the ROC curve, the confusion and the worst false positives."""
  figure = figure_lib.Figure(figsize=(12, 8), layout='constrained')
  grid = figure.add_gridspec(2, _PICTURES, height_ratios=(1.5, 1))
  half = _PICTURES // 2
  described = report.describe()
  _draw_curve(figure.add_subplot(grid[0, :half]), report, described)
  _draw_confusion(figure.add_subplot(grid[0, half:]), report, described)
  failures = np.flatnonzero(~report.examples.success)
  worst = failures[np.argsort(-report.probability[failures])][:_PICTURES]
  for i, row in enumerate(worst):
    _draw_picture(figure.add_subplot(grid[1, i]), report, row)
  return figure


def _draw_curve(
  panel: axes_lib.Axes, report: Report, described: Mapping[str, Any]
) -> None:
  curve = roc.curve(report.probability, report.examples.success)
  panel.plot(curve.false_positive_rate, curve.true_positive_rate, color=_COLOR)
  panel.plot(
    described['false_positive_rate'],
    described['true_positive_rate'],
    'o',
    color=_COLOR,
    label=f'threshold {report.threshold:.4g}',
  )
  panel.plot([0, 1], [0, 1], '--', color='#999999', linewidth=0.8)
  panel.set_title(f'ROC, area {described["area_under_curve"]:.4f}')
  panel.set_xlabel('failures taken for a success')
  panel.set_ylabel('successes found')
  panel.grid(True, color='#dddddd', linewidth=0.6)
  panel.set_axisbelow(True)
  panel.spines[['top', 'right']].set_visible(False)
  panel.legend(loc='lower right', frameon=False)


def _draw_confusion(
  panel: axes_lib.Axes, report: Report, described: Mapping[str, Any]
) -> None:
  counts = roc.Confusion(**described['confusion'])
  table = np.array(
    [
      [counts.true_positives, counts.false_negatives],
      [counts.false_positives, counts.true_negatives],
    ]
  )
  shares = table / table.sum(axis=1, keepdims=True)
  panel.imshow(shares, cmap='Blues', vmin=0, vmax=1)
  for (row, column), count in np.ndenumerate(table):
    share = shares[row, column]
    panel.text(
      column,
      row,
      f'{count}\n{share:.2%}',
      ha='center',
      va='center',
      fontsize=13,
      color='white' if share > 0.5 else 'black',
    )
  panel.set_xticks([0, 1], ['said: success', 'said: failure'])
  panel.set_yticks([0, 1], ['success', 'failure'])
  panel.set_title(
    f'{described["episodes"]} held-out episodes, '
    f'{described["episodes_with_a_false_positive"]} with a false positive'
  )


def _draw_picture(panel: axes_lib.Axes, report: Report, row: int) -> None:
  """Draws the images of a failure, one camera above the other."""
  pictures = [
    _as_picture(column[row]) for column in report.examples.images.values()
  ]
  width = max(picture.shape[1] for picture in pictures)
  padded = [
    np.pad(p, [(0, 0), (0, width - p.shape[1]), (0, 0)]) for p in pictures
  ]
  panel.imshow(np.concatenate(padded))
  panel.set_axis_off()
  wrong = report.probability[row] > report.threshold
  panel.set_title(
    f'{"FALSE POSITIVE" if wrong else "failure"}\n'
    f'p = {report.probability[row]:.3g}, '
    f'episode {report.examples.episode[row]}',
    fontsize=8,
    color='#b02020' if wrong else 'black',
  )


def _as_picture(image: np.ndarray) -> np.ndarray:
  """Returns RGB [H, W, 3] of an image or of the last frame of a stack."""
  frame = image if image.ndim == 3 else image[-1]
  return frame if frame.shape[-1] == 3 else np.repeat(frame[..., :1], 3, -1)
