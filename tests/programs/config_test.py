import pytest

from serl import programs
from serl.agents.sac import builder as sac_builder
from serl.agents.sac import config as sac_config
from tests.programs.distributed import fake_run


@pytest.mark.parametrize(
  'name, value',
  [
    ('num_actors', 0),
    ('updates_per_step', 0.0),
    ('max_env_steps', 0),
    ('max_learner_steps', 0),
    ('held_out_fraction', 1.0),
    ('evaluation_episodes', 0),
    ('stop_at_successes', 4),  # of 3 episodes
    ('checkpoints_kept', 0),
    ('checkpoints_kept', -1),
    *(
      (name, value)
      for name in (
        'checkpoint_period_s',
        'evaluation_period_s',
        'log_period_s',
        'pull_every_s',
        'steps_per_second',
      )
      for value in (0.0, -1.0, float('nan'), float('inf'))
    ),
  ],
)
def test_bad_value_is_named(tmp_path, name, value):
  with pytest.raises(ValueError, match=f'{name} is {value!r}, expected'):
    fake_run.make_config(tmp_path, **{name: value})


def test_the_ports_of_all_pages_must_exist(tmp_path):
  fake_run.make_config(tmp_path, live_port=65535)
  with pytest.raises(ValueError, match=r'\(--live-port\) is 0, expected 1 to'):
    fake_run.make_config(tmp_path, live_port=0)
  with pytest.raises(ValueError, match='is 65535, expected 1 to 65534, since'):
    fake_run.make_config(tmp_path, live_port=65535, num_actors=2)


def test_environment_must_be_a_factory(tmp_path):
  environment = fake_run.make_environment('none', 0.0, seed=0)
  with pytest.raises(ValueError, match='make_environment is <'):
    programs.RunConfig(
      run_dir=tmp_path,
      make_environment=environment,
      builder=sac_builder.SACBuilder(),
    )


def test_tables_of_demonstrations_need_some(tmp_path):
  config = fake_run.make_config(tmp_path)
  with pytest.raises(ValueError, match="'demonstrations', but demonstrations"):
    programs.RunConfig(
      run_dir=tmp_path,
      make_environment=config.make_environment,
      builder=config.builder,
    )


def test_who_clones_demonstrations_needs_a_table_of_them(tmp_path):
  config = sac_config.SACConfig(cloning=0.1)
  with pytest.raises(ValueError, match='put RLPDBuilder around it'):
    programs.RunConfig(
      run_dir=tmp_path,
      make_environment=fake_run.make_environment,
      builder=sac_builder.SACBuilder(config),
    )
