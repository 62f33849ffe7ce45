"""What the documents say is so."""

from __future__ import annotations

import re

import pytest
from tests.conftest import ROOT
from tests.test_runner import recarena

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "reproductions").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_implementation_in_the_readme_plays(project):
    source = re.search(r"```python\n(.+?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    project.contender("mf/kim", source[1], head="")
    done = recarena(project, "check", "mf/kim")
    assert done.returncode == 0 and "✓" in done.stdout, done.stdout


def test_the_commands_in_the_documents_exist(project):
    project.contender("mf/kim", "", head="def")
    known = recarena(project, "--help").stdout
    options = recarena(project, "run", "--help").stdout
    for page in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / page).read_text(encoding="utf-8")
        words = "run|board|compare|review|verify|submit|question|check|new|ls|doctor|data|metrics"
        for command in re.findall(rf"recarena ({words})\b", text):
            assert re.search(rf"│ {command}\b", known), command
        for option in re.findall(r"recarena run[^\n`]*?(--[a-z]+)", text):
            assert option in options, option


def test_contributing_fits_on_one_screen():
    assert len((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()) <= 40
