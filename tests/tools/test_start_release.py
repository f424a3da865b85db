"""A release: which version may follow, and what becomes of the project's two files."""

from datetime import date

import pytest

PROJECT = '[project]\nname = "muralist"\nversion = "0.2.0.dev0"  # stated here only\n\n[tool.x]\nversion = "9"\n'
CHANGELOG = """# Changelog

## [Unreleased]

### Added
- Brushes.

## [0.1.0] - 2026-11-22

### Added
- Paint.
"""
DAY = date(2026, 12, 24)


def test_a_release_has_its_version_and_its_day() -> None:
    """The version changes in one place; what was unreleased is dated, and what comes next has a heading above it."""
    from start_release import released

    project, changelog = released(PROJECT, CHANGELOG, "0.2.0", DAY)
    assert project == PROJECT.replace("0.2.0.dev0", "0.2.0")
    assert changelog.startswith("# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-12-24\n\n### Added\n- Brushes.\n")
    assert changelog.endswith("\n## [0.1.0] - 2026-11-22\n\n### Added\n- Paint.\n")


@pytest.mark.parametrize(
    ("version", "changelog", "said"),
    [
        ("0.2", CHANGELOG, "'0.2'"),
        ("0.2.0.dev1", CHANGELOG, "'0.2.0.dev1'"),
        ("0.1.0", CHANGELOG, r"0\.1\.0 .*0\.1\.0"),
        ("0.0.9", CHANGELOG, r"0\.0\.9 .*0\.1\.0"),
        ("0.2.0", CHANGELOG.replace("### Added\n- Brushes.\n", ""), r"Unreleased"),
        ("0.2.0", CHANGELOG.replace("## [Unreleased]\n", ""), r"Unreleased"),
    ],
)
def test_what_is_no_release_is_refused(version: str, changelog: str, said: str) -> None:
    """A version that is none or not later than all before, and a release without news."""
    from start_release import released

    with pytest.raises(ValueError, match=said):
        released(PROJECT, changelog, version, DAY)


def test_the_files_of_the_repository_can_be_released() -> None:
    """The expressions find what they look for in the real files."""
    from start_release import ROOT, UNRELEASED, VERSION, released

    project, changelog = (ROOT / "pyproject.toml").read_text(), (ROOT / "CHANGELOG.md").read_text()
    after, dated = released(project, changelog.replace(UNRELEASED, f"{UNRELEASED}\n- News.\n"), "1000.0.0", DAY)
    assert VERSION.findall(after) == ["1000.0.0"]
    assert dated.count("## [1000.0.0] - 2026-12-24") == 1
