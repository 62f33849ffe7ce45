"""Environments of their own: built once from a file's script block, recorded, and told in words when they cannot be."""

from __future__ import annotations

import pytest
from tests.conftest import HEAD
from tests.test_runner import RATE, all_records, play, recarena

from recarena.arena.discovery import read
from recarena.arena.environments import environment
from recarena.contract.errors import ImplementationError, Skip

BLOCK = '# /// script\n# dependencies = ["numpy<2"]\n# ///\n'


def test_a_script_block_plays_in_its_own_environment_with_an_older_numpy(project):
    body = RATE.replace("self.mean =", "assert np.__version__ < '2'; self.mean =")
    path = project.contender("demo/old_peer", body, head=BLOCK + HEAD)
    told: list[str] = []
    try:
        built = environment(read(path), project.cache, say=told.append)
    except ImplementationError as error:
        pytest.skip(f"pip cannot build it here: {str(error).splitlines()[-1]}")
    assert built.facts["packages"]["numpy"].startswith("1.")
    assert len(told) == 1 and "numpy<2" in told[0]
    assert environment(read(path), project.cache, say=told.append) == built
    assert len(told) == 1, "it was built twice"

    play(project, "--seeds", "1")
    for record in all_records(project).values():
        assert (record.status, record.reason) == ("ok", None)
        assert record.environment == built.facts
        assert record.implementation.kind == "peer"


def test_nothing_is_built_for_somebody_who_did_not_ask_for_it(project):
    path = project.contender("demo/old_peer", RATE, head=BLOCK + HEAD)
    with pytest.raises(Skip, match=r"own environment \(numpy, numpy<2\) is not built yet: -i demo/old_peer builds it"):
        environment(read(path), project.cache, build=False)
    assert [p for p in (project.cache / "environments").iterdir() if p.is_dir()] == []
    done = recarena(project, "run", "-b", "tiny-rate", "--results", str(project.results))
    assert "demo/old_peer cannot run here: its own environment" in done.stderr + done.stdout


def test_what_cannot_be_built_says_why_in_pips_words_and_leaves_nothing(project):
    path = project.contender("demo/bad_peer", RATE, head=BLOCK.replace("numpy<2", "numpy==0.0.0") + HEAD)
    with pytest.raises(ImplementationError, match=r"demo/bad_peer.py: its environment cannot be built; pip says:\n.*"):
        environment(read(path), project.cache)
    assert [p for p in (project.cache / "environments").iterdir() if p.is_dir()] == []


def test_blocks_with_mistakes(project):
    path = project.contender("demo/a", RATE, head=BLOCK.replace("dependencies", "dependancies") + HEAD)
    with pytest.raises(ImplementationError, match='did you mean "dependencies"'):
        environment(read(path), project.cache)
    path = project.contender("demo/b", RATE, head='# /// script\n# requires-python = ">=4"\n# ///\n' + HEAD)
    with pytest.raises(Skip, match="requires Python >=4"):
        environment(read(path), project.cache)
    path = project.contender("demo/c", "import recarena_needs_this\n" + RATE)
    with pytest.raises(Skip, match="recarena_needs_this is not installed"):
        environment(read(path), project.cache)
