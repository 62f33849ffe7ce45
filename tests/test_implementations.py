"""Conformance over every implementation found: a newcomer's file is tested without a line of test code."""

from __future__ import annotations

import pytest
from tests.conftest import ROOT

from recarena.arena.discovery import find
from recarena.cli.conformance import Verdict, conform
from recarena.cli.project import Project
from recarena.judge.claims import load_paper

FOUND = find(ROOT)


@pytest.fixture(scope="session")
def verdicts(tmp_path_factory) -> dict[str, list[Verdict]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECARENA_ROOT", str(ROOT))
        patch.setenv("RECARENA_CACHE", str(tmp_path_factory.mktemp("cache")))
        found: dict[str, list[Verdict]] = {}
        for one in conform(Project(), []):
            found.setdefault(one.implementation, []).append(one)
    return found


def test_no_file_is_broken():
    assert FOUND.broken == {}


@pytest.mark.parametrize("name", [one.name for one in FOUND.implementations])
def test_conformance(verdicts, name):
    mine = verdicts[name]
    wrong = [f"{one.benchmark}: {one.wrong}\n" + "\n".join(one.lines) for one in mine if one.wrong]
    assert not wrong, "\n".join(wrong)
    if all(one.skipped for one in mine):
        pytest.skip(f"{name}: {mine[0].skipped}")


@pytest.mark.parametrize("paper", sorted({one.paper for one in FOUND.implementations}))
def test_a_paper_says_what_it_is_and_what_it_claims(paper):
    folder = ROOT / "reproductions" / paper
    assert (folder / "README.md").exists(), "every paper's folder explains itself"
    known = {path.stem for path in (ROOT / "benchmarks").glob("*.toml")}
    files = {one.who for one in FOUND.implementations if one.paper == paper}
    for claim in load_paper(folder).claims:
        assert claim.benchmark in known, f"{paper}: a claim about {claim.benchmark}, which is no benchmark"
        assert claim.implementation in files | {""}, f"{paper}: a claim about {claim.implementation}, which is no file"
