"""Names and content of migration files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from metadata_svc.adapters import statements
from metadata_svc.migrate import MigrationError, migrations


@pytest.mark.parametrize("name", ["1_pre_x.sql", "0001_during_x.sql", "0001_pre.sql", "0001_pre_.sql"])
def test_a_name_out_of_form_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("SELECT 1")
    with pytest.raises(MigrationError, match="not of the form"):
        migrations(tmp_path)


def test_a_number_taken_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0001_pre_x.sql").write_text("SELECT 1")
    (tmp_path / "0001_post_y.sql").write_text("SELECT 1")
    with pytest.raises(MigrationError, match="is taken by"):
        migrations(tmp_path)


def test_numbers_have_no_gap() -> None:
    assert [step.number for step in migrations()] == list(range(1, len(migrations()) + 1))


def test_no_sql_needs_more_than_postgresql_16() -> None:
    texts = [step.sql for step in migrations()] + list(statements.load().values())
    assert not [text for text in texts if re.search(r"\buuidv7\b|\bVIRTUAL\b|MERGE.*RETURNING|\bold\.|\bnew\.", text)]


def test_sql_is_nowhere_but_in_its_files() -> None:
    root = Path(statements.__file__).resolve().parents[1]
    statement = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM)\s+[a-z*]")
    found = [
        path.name for path in root.rglob("*.py") if path.name != "migrate.py" and statement.search(path.read_text())
    ]
    assert found == []
