"""``recarena data``: each command on a small project."""

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from recarena.cli.app import app
from recarena.contract.errors import DataError, RecarenaError


@pytest.fixture
def cli(project, monkeypatch):
    for name, value in project.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("RECARENA_MIRROR", raising=False)

    def call(*words: str) -> str:
        result = CliRunner().invoke(app, ["data", *words], catch_exceptions=True)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.stdout

    return call


@pytest.fixture
def csv(tmp_path) -> Path:
    file = tmp_path / "mine.csv"
    file.write_text("movieId,uid,stars,when\n10,a,4.5,100\n11,a,3,200\n10,b,1,300\n")
    return file


def test_ls_and_verify_and_card(cli):
    assert "ready" in cli("ls")
    assert "tiny: the recipe itself: 56 rows, as the recipe expects" in cli("verify")
    card = cli("card", "tiny")
    assert "density       70 %" in card  # 56 / (8 * 10)
    assert "2001-09-09 to 2001-09-10 (UTC)" in card
    assert "| rating | rows | share |" in cli("card", "tiny", "--md")


def test_add_writes_a_recipe_that_loads(cli, csv, project):
    said = cli("add", str(csv), "--name", "mine", "--value", "stars", "--time", "when")
    assert "2 users, 2 items, 3 rows" in said
    recipe = (project.root / "datasets" / "mine.toml").read_text()
    assert 'licence = "unknown: yours to state"' in recipe
    assert "mine: 3 rows" in cli("fetch", "mine")
    assert "1 to 4.5" in cli("card", "mine")
    with pytest.raises(DataError, match="is there already"):
        cli("add", str(csv), "--name", "mine")
    csv.write_text(csv.read_text() + "11,b,2,400\n")
    with pytest.raises(DataError, match="the file has changed"):
        cli("fetch", "mine")


def test_add_reads_parquet_and_inter_with_titles(cli, csv, tmp_path):
    pl.read_csv(csv).write_parquet(tmp_path / "x.parquet")
    assert "3 rows" in cli("add", str(tmp_path / "x.parquet"), "--name", "p", "--user", "uid")
    (tmp_path / "m.inter").write_text("user_id:token\titem_id:token\n1\t2\n")
    (tmp_path / "m.item").write_text("item_id:token\tmovie_title:token_seq\n2\tToy\n")
    cli("add", str(tmp_path / "m.inter"), "--name", "m")
    assert "m: 1 rows" in cli("fetch", "m")


def test_a_file_may_have_any_name(cli, csv, tmp_path):
    file = csv.rename(tmp_path / 'quote" and 😀.csv')
    cli("add", str(file), "--name", "odd")
    assert "odd: 3 rows" in cli("fetch", "odd")


def test_times_that_are_no_seconds_do_not_break_the_card(cli, tmp_path):
    (tmp_path / "ms.csv").write_text("user,item,time\n1,2,1300000000000\n")
    cli("add", str(tmp_path / "ms.csv"), "--name", "ms")
    assert "milliseconds?" in cli("card", "ms")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--name", "Mine"], "is no name for a dataset"),
        (["--name", "x", "--user", "nobody"], 'no column "nobody" for the user'),
        (["--name", "x", "--item", ""], "which column holds the item"),
        (["--name", "x", "--value", "uid"], "one column holds two things"),
    ],
)
def test_add_refuses_and_leaves_nothing(cli, csv, project, words, message):
    with pytest.raises(RecarenaError, match=message):
        cli("add", str(csv), *words)
    assert [path.name for path in (project.root / "datasets").iterdir()] == ["tiny.toml"]


def test_export(cli, tmp_path):
    assert "56 rows" in cli("export", "tiny", str(tmp_path))
    cli("export", "tiny-next", str(tmp_path / "next"))
    assert (tmp_path / "next" / "tiny-next.valid.inter").is_file()
    cli("export", "tiny-next", str(tmp_path), "--format", "trec")
    assert len((tmp_path / "tiny-next.qrels").read_text().splitlines()) == 8
    for words, message in (
        (("tiny", ".", "--format", "csv"), 'unknown format "csv"'),
        (("tiny", ".", "--format", "trec"), "has no answers"),
        (("tinny", "."), "no dataset or benchmark"),
        (("tiny-rate", ".", "--format", "trec"), "qrels are for ranking"),
        (("tiny-next", ".", "--format", "trec", "--ask", "nxt"), r'tiny-next has no ask "nxt" \(did you mean "next"'),
    ):
        with pytest.raises(RecarenaError, match=message):
            cli("export", *words)


def test_a_name_of_both_is_the_datasets_unless_answers_are_wanted(cli, project, tmp_path):
    benchmarks = project.root / "benchmarks"
    (benchmarks / "tiny.toml").write_text((benchmarks / "tiny-next.toml").read_text())
    assert "tiny.inter" in cli("export", "tiny", str(tmp_path))
    cli("export", "tiny", str(tmp_path), "--format", "trec")
    assert len((tmp_path / "tiny.qrels").read_text().splitlines()) == 8
    cli("export", "tiny", str(tmp_path), "--ask", "next")
    assert (tmp_path / "tiny.train.inter").is_file()
