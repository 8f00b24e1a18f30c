import pytest

from robot_server import __main__ as main


def parse(*arguments):
  return main.parse_args(['--robot-ip=10.0.0.2', *arguments])


def test_the_defaults():
  args = parse('--gripper=none')
  assert (args.host, args.port) == ('127.0.0.1', 5000)
  assert args.reset_joint_target == (0, 0, 0, -1.9, 0, 2, 0)


def test_a_reset_target():
  args = parse('--gripper=none', '--reset-joint-target=0,0.1,0,-2,0,2,0.5')
  assert args.reset_joint_target == (0, 0.1, 0, -2, 0, 2, 0.5)


@pytest.mark.parametrize(
  'arguments, reason',
  [
    (['--gripper=none', '--host=0.0.0.0'], '--token-file'),
    (['--gripper=none', '--host=10.0.0.1'], '--token-file'),
    (['--gripper=none', '--host=::'], '--token-file'),
    (['--gripper=none', '--host=robot.local'], '--token-file'),
    (['--gripper=robotiq'], '--gripper-ip'),
    (['--gripper=hand'], 'invalid choice'),
    (['--gripper=none', '--port=0'], "'0': expected 1 to 65535"),
    (['--gripper=none', '--port=70000'], "'70000': expected 1 to 65535"),
    (['--gripper=none', '--reset-joint-target=0,0'], 'expected 7'),
    (['--gripper=none', '--reset-joint-target=0,0,0,nan,0,0,0'], '7 numbers'),
    (['--gripper=none', '--reset-joint-target=a'], '7 numbers'),
  ],
)
def test_refusals(capsys, arguments, reason):
  with pytest.raises(SystemExit) as caught:
    parse(*arguments)
  assert caught.value.code == 2
  assert reason in capsys.readouterr().err


@pytest.mark.parametrize('host', ['localhost', '127.0.0.1', '127.8.0.1', '::1'])
def test_the_loopback_needs_no_token(host):
  assert parse('--gripper=none', f'--host={host}').token_file is None


def test_beyond_it_a_token_will_do():
  args = parse('--gripper=none', '--host=0.0.0.0', '--token-file=token')
  assert args.token_file == 'token'


def test_a_token_is_read(tmp_path):
  path = tmp_path / 'token'
  path.write_text('0123456789abcdef\n')
  assert main.read_token(str(path)) == '0123456789abcdef'


@pytest.mark.parametrize(
  'text', ['', 'short', ' ' * 40, 'two words of some length', 'é' * 20]
)
def test_a_token_that_is_no_secret_is_refused(tmp_path, text):
  path = tmp_path / 'token'
  path.write_text(text)
  with pytest.raises(ValueError, match='token'):
    main.read_token(str(path))
