import json

import pytest

from serl import programs
from serl.tools import interventions
from tests.programs.distributed import fake_run


def test_the_runs_program_makes_its_agent_again(tmp_path, capfd):
  folder = tmp_path / 'run'
  programs.run_local(
    fake_run.make_config(
      folder,
      max_env_steps=10,
      steps_per_second=None,
      evaluate=False,
      person=True,
      learning_rate=2e-3,
    )
  )
  text = (folder / 'config.json').read_text()
  config = json.loads(text.replace(fake_run.__name__, '__main__'))
  config['command'] = ['fake_run.py', '--learning_rate=0.002', '--run=other']
  (folder / 'config.json').write_text(json.dumps(config))
  arguments = [str(folder), f'--output={tmp_path / "drawn.png"}']
  with pytest.raises(SystemExit):
    interventions.main(arguments)
  assert (
    "trained by 'fake_run.py', which is not one of" in capfd.readouterr().err
  )
  # The user names the program, and what a folder may not set.
  arguments.append(f'--program={fake_run.__file__}')
  with pytest.raises(SystemExit):
    interventions.main(arguments)
  assert "sets 'learning_rate', which a run folder may not" in (
    capfd.readouterr().err
  )
  arguments += ['--', '--learning_rate=0.002']
  assert interventions.main(arguments) == 0
  lines = capfd.readouterr().out.splitlines()
  assert [line.split(':')[0] for line in lines] == [
    'Interventions',
    'Advantage',
    'Picture',
  ]
  assert '2 in 1 episodes' in lines[0]
  assert (tmp_path / 'drawn.png').exists()
  figures = json.loads((tmp_path / 'drawn.json').read_text())
  assert len(figures['episodes']) == 1
