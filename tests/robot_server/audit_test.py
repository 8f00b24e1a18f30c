import json

from robot_server import audit as audit_lib


def test_events_are_lines_of_json(tmp_path):
  path = tmp_path / 'audit.jsonl'
  audit = audit_lib.AuditLog(path)
  audit.record('pose', sent=[1.0, 2.0])
  audit.record('hold')
  audit.close()

  first, second = map(json.loads, path.read_text().splitlines())
  assert first['event'] == 'pose'
  assert first['sent'] == [1.0, 2.0]
  assert second['time'] >= first['time']


def test_the_last_events_are_kept_the_newest_first():
  audit = audit_lib.AuditLog()
  for number in range(100):
    audit.record('pose', number=number)

  numbers = [event['number'] for event in audit.last()]
  assert numbers == list(range(99, 79, -1))


def test_the_files_are_rotated_and_bounded(tmp_path, monkeypatch):
  monkeypatch.setattr(audit_lib, '_BYTES', 1000)
  monkeypatch.setattr(audit_lib, '_FILES', 2)
  audit = audit_lib.AuditLog(tmp_path / 'audit.jsonl')
  for number in range(200):
    audit.record('pose', number=number)
  audit.close()

  files = sorted(tmp_path.iterdir())
  assert len(files) == 3
  assert sum(file.stat().st_size for file in files) <= 3000
  newest = json.loads(files[0].read_text().splitlines()[-1])
  assert newest['number'] == 199
