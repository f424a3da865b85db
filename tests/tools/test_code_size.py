"""The table of the code's growth."""

import subprocess

import pytest


@pytest.fixture
def commit(tmp_path, monkeypatch):
    """A function that commits files, by name with their text, in a repository of its own."""
    monkeypatch.chdir(tmp_path)
    subprocess.run(["git", "init", "-q"], check=True)

    def make(**files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        subprocess.run(["git", "add", "."], check=True)
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *who, "commit", "-q", "-m", "more"], check=True)

    return make


def test_growth_is_told_per_room(commit):
    """Lines of product and tests lie side by side, and the longest functions are named."""
    from code_size import CodeSize, compare

    long = "def f():\n" + "    x = 1\n" * 60
    commit(**{"model/a.py": "x = 1\n", "tests/model/test_a.py": "x = 1\n" * 3, "notes.md": "no code\n"})
    commit(**{"model/a.py": long, "pipeline/viewer/b.py": "x = 1\n" * 400, "tests/test_cli.py": "x = 1\n" * 2})
    told = compare(CodeSize.at("HEAD~1"), CodeSize.at("HEAD")).splitlines()
    assert "| model | 1 | 61 | 3 | 3 |" in told
    assert "| cli | 0 | 0 | 0 | 2 |" in told
    assert "| **all** | 1 | 461 | 3 | 5 |" in told
    assert "modules of more than 300 lines: 0 before, 1 after" in told
    assert "functions of more than 50 lines: 0 before, 1 after" in told
