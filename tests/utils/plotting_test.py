"""Tests for plotting."""

import json

import numpy as np
import pytest

from serl.utils import plotting

_PROGRESS = 4  # panels: success and return, by minutes and by steps


def _write(run, node, records):
  (run / 'metrics').mkdir(parents=True, exist_ok=True)
  lines = [json.dumps({'time': r['elapsed'], **r}) for r in records]
  (run / 'metrics' / f'{node}.jsonl').write_text('\n'.join(lines) + '\n')


def _make_run(run, end=10, scale=1.0):
  _write(
    run,
    'evaluator',
    [
      {
        'elapsed': 60.0 * i,
        'env_steps': 100 * i,
        'success': i / 10,
        'episode_return': scale * i,
      }
      for i in range(end + 1)
    ],
  )
  return run


def _write_actor(run, name, begin):
  records = [
    {
      'elapsed': begin + 60.0 * i,
      'env_steps': 10 * (i + 1),
      'episode_length': 10,
      'episode_return': float(begin),
      'params_age': 0.5,
    }
    for i in range(30)
  ]
  _write(run, name, records)


def _lines(figure, title, which=0):
  """Returns the lines of the panel of this title by their labels."""
  panels = [axes for axes in figure.axes if axes.get_title() == title]
  lines = panels[which].lines
  return {line.get_label(): line.get_xydata() for line in lines}


def _said(figure):
  return [[text.get_text() for text in axes.texts] for axes in figure.axes]


def test_draws_the_evaluation_against_minutes_and_steps(tmp_path):
  figure = plotting.make_figure([_make_run(tmp_path / 'run')])
  by_minutes = _lines(figure, 'success rate', 0)['evaluation']
  by_steps = _lines(figure, 'success rate', 1)['evaluation']
  np.testing.assert_allclose(by_minutes[:, 0], np.arange(11))
  np.testing.assert_allclose(by_steps[:, 0], 100 * np.arange(11))
  np.testing.assert_allclose(by_minutes[:, 1], np.arange(11) / 10)
  np.testing.assert_allclose(by_steps[:, 1], by_minutes[:, 1])


def test_training_is_a_running_mean_over_all_actors(tmp_path):
  run = _make_run(tmp_path / 'run')
  _write_actor(run, 'actor_0', begin=0)
  _write_actor(run, 'actor_1', begin=2)
  figure = plotting.make_figure([run])
  lines = _lines(figure, 'return of an episode', 1)
  training = lines['training, mean of 20 episodes']
  # The episodes alternate between returns of 0 and 2; 10 steps each.
  np.testing.assert_allclose(training[:, 0], 10 * np.arange(1, 61))
  np.testing.assert_allclose(training[:3, 1], [0, 1, 2 / 3])
  np.testing.assert_allclose(training[20::2, 1], 1)


def test_several_runs_are_thin_lines_and_their_median(tmp_path):
  runs = [
    _make_run(tmp_path / str(scale), scale=scale) for scale in (1.0, 2.0, 9.0)
  ]
  figure = plotting.make_figure(runs)
  lines = _lines(figure, 'return of an episode')
  median = lines['evaluation, median of 3']
  np.testing.assert_allclose(median[:, 1], 2 * median[:, 0])
  panel = figure.axes[2]
  widths = sorted(line.get_linewidth() for line in panel.lines)
  assert len(widths) == 4
  assert widths[2] < 1 < widths[3]


def test_a_run_that_has_ended_counts_on_with_its_last_value(tmp_path):
  runs = [_make_run(tmp_path / str(end), end=end) for end in (4, 8, 10)]
  figure = plotting.make_figure(runs)
  median = _lines(figure, 'return of an episode')['evaluation, median of 3']
  assert median[-1, 0] == pytest.approx(10)
  # Return equals time: of 4, 8 and up to 10 the median stays at 8.
  np.testing.assert_allclose(median[:, 1], np.minimum(median[:, 0], 8))


def test_says_what_was_not_recorded(tmp_path):
  figure = plotting.make_figure([_make_run(tmp_path / 'run')])
  said = _said(figure)
  assert said[:_PROGRESS] == [[]] * _PROGRESS
  assert said[_PROGRESS:] == [['not recorded']] * 6


def test_a_task_without_success_says_so_beside_its_return(tmp_path):
  _write_actor(tmp_path / 'run', 'actor_0', begin=0)
  figure = plotting.make_figure([tmp_path / 'run'])
  assert _said(figure)[:_PROGRESS] == [
    *[['the task defines no success']] * 2,
    *[[]] * 2,
  ]
  # Nothing is known of one that has no episode yet.
  _write(tmp_path / 'new', 'learner', [{'elapsed': 60.0, 'critic_loss': 1.0}])
  figure = plotting.make_figure([tmp_path / 'new'])
  assert _said(figure)[:_PROGRESS] == [['not recorded']] * _PROGRESS


def test_leaves_out_what_is_not_finite(tmp_path):
  run = _make_run(tmp_path / 'run')
  _write(
    run,
    'learner',
    [{'elapsed': 60.0 * i, 'critic_loss': x} for i, x in enumerate([1, 'NaN'])],
  )
  figure = plotting.make_figure([run])
  np.testing.assert_allclose(_lines(figure, 'critic loss')['learner'], [[0, 1]])


def test_one_record_is_drawn_too(tmp_path):
  run = _make_run(tmp_path / 'run', end=0)
  plotting.learning_curve([run, run], tmp_path / 'a.png')
  assert (tmp_path / 'a.png').stat().st_size > 10_000


def test_refuses_a_folder_without_metrics(tmp_path):
  with pytest.raises(FileNotFoundError, match=r'no metrics/\*\.jsonl'):
    plotting.make_figure([tmp_path])


def test_a_run_without_actors_shows_what_it_measured(tmp_path):
  run = tmp_path / 'run'
  _write(
    run,
    'evaluator',
    [{'elapsed': 60.0, 'learner_steps': 500, 'success': 0.5}],
  )
  measured = {
    f'{part}/steps/{name}': value
    for part, value in (('training', 0.25), ('held_out', 0.75))
    for name in ('loss', 'part_loss', 'grip_error')
  }
  _write(run, 'learner', [{'elapsed': 30.0, 'learner_steps': 9, **measured}])
  figure = plotting.make_figure([run])
  success = _lines(figure, 'success rate', which=1)
  np.testing.assert_array_equal(success['evaluation'], [[500, 0.5]])
  titles = [axes.get_title() for axes in figure.axes if axes.get_visible()]
  assert titles[_PROGRESS:] == ['grip error, steps', 'loss, steps']
  lines = _lines(figure, 'grip error, steps')
  np.testing.assert_array_equal(lines['training'], [[0.5, 0.25]])
  np.testing.assert_array_equal(lines['held out'], [[0.5, 0.75]])
