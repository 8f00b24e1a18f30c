import dataclasses

import pytest

from serl import programs
from serl.agents.rlpd import builder as rlpd_builder
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
  with pytest.raises(ValueError, match=rf'\.{name}.* is {value!r}, expected'):
    fake_run.make_config(tmp_path, **{name: value})


def test_the_ports_of_all_pages_must_exist(tmp_path):
  fake_run.make_config(tmp_path, live_port=65535)
  with pytest.raises(ValueError, match=r'\(--live-port\) is 0, expected'):
    fake_run.make_config(tmp_path, live_port=0)
  with pytest.raises(ValueError, match='is 65535, expected at most 65534'):
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


def test_demonstrations_have_the_names_that_tables_draw_from(tmp_path):
  config = fake_run.make_config(tmp_path)
  episodes = config.demonstrations
  named = lambda **found: dataclasses.replace(config, demonstrations=found)
  assert named(demonstrations=episodes)
  with pytest.raises(ValueError, match=r"none draws from \['scripted'\]"):
    named(demonstrations=episodes, scripted=episodes)
  with pytest.raises(
    ValueError, match="demonstrations', but demonstrations is"
  ):
    named()
  other = dataclasses.replace(config.builder.config, source='scripted')
  agent = dataclasses.replace(config.builder, config=other)
  with pytest.raises(ValueError, match=r"has only \['demonstrations'\]"):
    dataclasses.replace(config, builder=agent)
  twice = dataclasses.replace(
    config,
    builder=rlpd_builder.RLPDBuilder(config.builder, other),
    demonstrations={'demonstrations': episodes, 'scripted': episodes},
  )
  assert list(twice.describe(fake_run.SPEC)['demonstrations']) == [
    'demonstrations',
    'scripted',
  ]


def test_folders_of_several_names_move_with_the_run(tmp_path):
  config = fake_run.make_config(tmp_path)
  inside = {'demonstrations': tmp_path / 'good'}
  described = dataclasses.replace(config, demonstrations=inside).describe(
    fake_run.SPEC
  )
  assert described['demonstrations'] == {'demonstrations': 'good'}


def test_tables_of_a_users_builder_are_checked(tmp_path):
  config = fake_run.make_config(tmp_path)

  class Twice(sac_builder.SACBuilder):
    def make_tables(self):
      (table,) = super().make_tables()
      return 2 * (dataclasses.replace(table, fraction=0.5),)

  with pytest.raises(ValueError, match=r"\['replay'\] stands there more"):
    dataclasses.replace(config, builder=Twice())


def test_who_clones_demonstrations_needs_a_table_of_them(tmp_path):
  config = sac_config.SACConfig(cloning=0.1)
  with pytest.raises(ValueError, match='put RLPDBuilder around it'):
    programs.RunConfig(
      run_dir=tmp_path,
      make_environment=fake_run.make_environment,
      builder=sac_builder.SACBuilder(config),
    )
