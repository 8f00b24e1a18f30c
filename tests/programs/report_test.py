import pytest

from serl.programs import evaluation
from serl.programs import report
from tests.programs.distributed import fake_run


def _problems(reason='a limit', config=None, **last):
  config = config or fake_run.make_config('run', updates_per_step=2.0)
  record = {'updates_per_step_asked': 2.0, 'env_steps': 10_020, **last}
  # Two updates a round; training begins after 20 steps.
  updates = 2 * record.get('learner_steps', 0)
  record['updates_per_step'] = updates / (record['env_steps'] - 20)
  first = {'time': 5.0, 'env_steps': 20, 'learner_steps': 0}
  return report._problems(config, reason, [first, record])


def test_a_run_that_did_what_was_asked_for_has_none():
  assert _problems(learner_steps=10_000) == ()
  # 80 % of the ratio is enough.
  assert _problems(learner_steps=8_000) == ()


def test_missed_updates_are_named():
  (problem,) = _problems(learner_steps=7_000)
  assert problem.startswith(
    '1.40 updates per environment step were made of the 2.00 asked'
  )


def test_a_run_that_reached_its_goal_is_a_success_whatever_it_missed():
  sweep = {'episodes': 20, 'episode_return': 812.5}
  for found in (sweep, {**sweep, 'successes': 20.0, 'success': 1.0}):
    reached = evaluation.outcome(found)
    assert _problems(reached, learner_steps=7_000) == ()
    assert _problems(reached, learner_steps=0)


def test_the_updates_for_the_last_steps_may_be_due():
  assert _problems(learner_steps=1, env_steps=200) == ()
  config = fake_run.make_config('run', updates_per_step=2.0, num_actors=3)
  assert _problems(config=config, learner_steps=10, env_steps=600) == ()
  assert _problems(learner_steps=10, env_steps=600)


def test_steps_that_were_taken_while_the_learner_compiled_are_not_missed():
  config = fake_run.make_config('run', updates_per_step=2.0)
  ratio = {'updates_per_step_asked': 2.0, 'updates_per_step': 0.2}
  records = [
    {'time': 5.0, 'env_steps': 9_000, 'learner_steps': 1, **ratio},
    {'time': 9.0, 'env_steps': 10_000, 'learner_steps': 1000, **ratio},
  ]
  assert report._problems(config, 'a limit', records) == ()
  # Those of an earlier launch are no excuse.
  records.append({**records[-1], 'time': 20.0, 'env_steps': 20_000})
  records.append({**records[-1], 'env_steps': 30_000, 'learner_steps': 2000})
  assert report._problems(config, 'a limit', records, launched=10.0)


@pytest.mark.parametrize(
  'reason, last',
  [
    ('a limit', {}),
    ('a limit', {'learner_steps': 0}),
    ('no update within 30 min', {'learner_steps': 10_000}),
  ],
)
def test_nothing_learned_is_named(reason, last):
  (problem,) = _problems(reason, **last)
  assert problem.startswith('nothing was learned')


def test_a_run_without_a_record_has_learned_nothing():
  config = fake_run.make_config('run')
  assert report._problems(config, 'a limit', [])


def test_divergence_counts_at_the_end_alone():
  (problem,) = _problems(learner_steps=10_000, divergence='critic_value 1e23')
  assert problem == 'at its end critic_value 1e23'
  records = [
    {'learner_steps': 10.0, 'divergence': 'critic_value 8'},
    {'learner_steps': 30.0, 'divergence': 'critic_value 9'},
  ]
  assert report._divergence(records) == 'learner step 10 to 30: critic_value 9'
  assert report._divergence([]) == ''


def test_a_user_who_stopped_a_run_is_asked_nothing():
  assert _problems(report.INTERRUPTED, learner_steps=0) == ()
