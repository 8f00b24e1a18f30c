import dataclasses
import json

import pytest

from serl.programs import run_folder
from serl.testing import folders
from tests.programs.distributed import fake_run


@pytest.fixture
def config(tmp_path):
  return fake_run.make_config(tmp_path / 'run')


def test_new_folder_is_claimed_and_then_resumed(config):
  assert run_folder.claim(config, fake_run.SPEC) is False
  assert run_folder.claim(config, fake_run.SPEC) is True


def test_what_is_free_may_change(config):
  run_folder.claim(config, fake_run.SPEC)
  changed = dataclasses.replace(config, max_env_steps=7, num_actors=2)
  assert run_folder.claim(changed, fake_run.SPEC) is True


def test_another_agent_is_refused_with_what_differs(config, tmp_path):
  run_folder.claim(config, fake_run.SPEC)
  before = (config.folder / 'config.json').read_text()
  other = fake_run.make_config(tmp_path / 'run', learning_rate=0.5, seed=3)
  with pytest.raises(run_folder.AnotherRunError) as raised:
    run_folder.claim(other, fake_run.SPEC)
  assert 'critic_learning_rate: 0.001 in the folder, 0.5 now' in str(
    raised.value
  )
  assert 'seed: 0 in the folder, 3 now' in str(raised.value)
  assert (config.folder / 'config.json').read_text() == before


def test_another_observation_spec_is_refused(config):
  run_folder.claim(config, fake_run.SPEC)
  fewer = dict(fake_run.SPEC.observations)
  fewer.pop('gripper')
  with pytest.raises(run_folder.AnotherRunError, match='observations/gripper'):
    run_folder.claim(config, fake_run.SPEC._replace(observations=fewer))


def test_folder_of_something_else_is_refused(config):
  config.folder.mkdir()
  (config.folder / 'thesis.tex').write_text('')
  with pytest.raises(run_folder.AnotherRunError, match=r'thesis\.tex'):
    run_folder.claim(config, fake_run.SPEC)


def _tears(whole):
  middle = len(whole) // 2
  yield b''
  yield bytes(len(whole))
  yield whole[:middle]
  yield whole[:middle] + bytes(middle)
  yield b'\xff\x00\x80' + whole
  yield b'[' * 100_000
  yield b'[]'
  yield b'{"run": 7}'


def test_a_torn_configuration_is_no_obstacle(config, caplog):
  run_folder.claim(config, fake_run.SPEC)
  (config.folder / 'episodes').mkdir()
  path = config.folder / 'config.json'
  whole = path.read_bytes()
  run = json.loads(whole)['run']
  for number, torn in enumerate(_tears(whole)):
    path.write_bytes(torn)
    caplog.clear()
    run_folder.check_policy(config, fake_run.SPEC)
    assert 'are not compared' in caplog.text
    with pytest.raises(run_folder.AnotherRunError, match='is torn or'):
      run_folder.command(config.folder)
    assert run_folder.claim(config, fake_run.SPEC) is True
    assert 'config.json is written anew' in caplog.text
    assert json.loads(path.read_text())['run'] == run
    name = f'config.json.{number}' if number else 'config.json'
    assert (config.folder / 'damaged' / name).read_bytes() == torn


def test_a_configuration_of_something_else_is_left_alone(config):
  config.folder.mkdir()
  (config.folder / 'thesis.tex').write_text('')
  for content in ('{"theme": "dark"}', 'torn'):
    (config.folder / 'config.json').write_text(content)
    with pytest.raises(run_folder.AnotherRunError, match='not that of a run'):
      run_folder.claim(config, fake_run.SPEC)
    assert (config.folder / 'config.json').read_text() == content


def test_folder_that_cannot_be_written_is_named(config):
  config.folder.mkdir()
  config.folder.chmod(0o555)
  with (
    folders.unwritable(),
    pytest.raises(PermissionError, match='cannot be written'),
  ):
    run_folder.claim(config, fake_run.SPEC)


def test_configuration_is_plain_data(config):
  run_folder.claim(config, fake_run.SPEC)
  run = json.loads((config.folder / 'config.json').read_text())['run']
  assert run['environment']['function'].endswith('make_environment')
  assert run['agent']['wraps']['batch_size'] == 8
  assert 'max_env_steps' not in run


def test_remembers_the_command_that_began_it(config, monkeypatch):
  monkeypatch.setattr('sys.argv', ['/somewhere/train.py', '--preset=cpu'])
  run_folder.claim(config, fake_run.SPEC)
  monkeypatch.setattr('sys.argv', ['other.py'])
  run_folder.claim(config, fake_run.SPEC)
  command = run_folder.command(config.folder)
  assert command == ['train.py', '--preset=cpu']
  # Of runs that alternate, what they share is named.
  assert run_folder.command(config.folder.parent) == command


@pytest.mark.parametrize(
  'name',
  [
    'logs/learner.lock',
    'logs/actor_0.txt',
    'metrics/learner.jsonl',
    'evaluations/5.json',
    'summary.json',
    '.config.json',
  ],
)
@pytest.mark.parametrize('is_claimed', [True, False])
def test_a_link_to_a_file_elsewhere_is_not_written_to(
  config, tmp_path, name, is_claimed
):
  if is_claimed:
    run_folder.claim(config, fake_run.SPEC)
  link = config.folder / name
  link.parent.mkdir(parents=True, exist_ok=True)
  link.symlink_to(tmp_path / 'profile')  # which need not be there yet
  calls = [run_folder.claim]
  if is_claimed:
    calls.append(run_folder.check_policy)
  for call in calls:
    with pytest.raises(run_folder.AnotherRunError, match='is a link to'):
      call(config, fake_run.SPEC)
  assert not (tmp_path / 'profile').exists()


def test_links_within_the_folder_and_of_folders_stay(config, tmp_path):
  run_folder.claim(config, fake_run.SPEC)
  (tmp_path / 'disk').mkdir()
  (config.folder / 'episodes').symlink_to(tmp_path / 'disk')
  (config.folder / 'newest.json').symlink_to(config.folder / 'config.json')
  assert run_folder.claim(config, fake_run.SPEC) is True
