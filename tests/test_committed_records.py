"""What is committed under results/: every record is a record, from a clean commit, where its facts say it lies."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from tests.conftest import ROOT

from recarena.boards.board import load
from recarena.contract.metrics import summary
from recarena.judge import records

RESULTS = ROOT / "results"
FILES = [p for p in sorted(RESULTS.glob("*/*/*seed-*.json")) if not p.name.endswith(".receipt.json")]
SCHEMA = json.loads((ROOT / "docs" / "record.schema.json").read_text(encoding="utf-8"))


def test_the_schema_is_the_models_own():
    assert records.Record.model_json_schema() == SCHEMA, "write docs/record.schema.json again: see CONTRIBUTING.md"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(RESULTS).as_posix())
def test_a_committed_record(path: Path):
    jsonschema.validate(json.loads(path.read_text(encoding="utf-8")), SCHEMA)
    record = records.read(path)
    who = record.implementation
    assert not record.dirty, "only records of a clean commit are committed"
    assert record.commit is not None
    assert record.limited is None
    row = path.parent.name
    assert row == f"{who.paper}.{who.who}" or row.startswith(f"{who.paper}.{who.who}+")
    assert path == records.path_of(RESULTS, record.benchmark.name, row, record.benchmark.fold, record.seed)
    again = records.key(record.question, who.code, who.hyperparameters, record.environment, record.seed)
    assert record.key == again, "the key is not that of the facts beside it"
    values = records.read_values(record, path)
    if values is None:
        return
    for ask, result in record.asks.items():
        for name, number in result.metrics.items():
            if f"{ask}.{name}" in values:
                each = values[f"{ask}.{name}"].astype(np.float64)
            else:
                error = values[f"{ask}.error"].astype(np.float64)
                each = error**2 if name == "rmse" else np.abs(error)
            assert len(each) == result.queries
            halved = f"{ask}.error" in values and values[f"{ask}.error"].dtype == np.float16
            near = pytest.approx(number, abs=1e-5 if halved else 2e-6)
            assert summary(name, each) == near, f"{ask} {name} is not what its values say"


@pytest.mark.parametrize("board", sorted({path.parent.parent.name for path in FILES}))
def test_the_rows_of_a_board_answer_one_question(board: str):
    questions: dict[str, set[str]] = {}
    for one in load(RESULTS, board)[0]:
        questions.setdefault(one.record.benchmark.fold, set()).add(one.record.question)
    assert all(len(hashes) == 1 for hashes in questions.values()), questions


@pytest.mark.parametrize("page", sorted(RESULTS.rglob("README.md")), ids=lambda page: page.parent.name)
def test_tables_are_readable_at_100_columns(page: Path):
    for line in page.read_text(encoding="utf-8").splitlines():
        assert not line.startswith("|") or len(line) <= 100, line
