"""Recipes: the committed ones load, and a wrong one says what is wrong, where, and what to write."""

import re
from pathlib import Path

import pytest

from recarena.contract.errors import DataError
from recarena.data import folders

ROOT = Path(__file__).parents[1]

DATASET = """
title = "T"
licence = "L"
citation = "C"
homepage = "H"
[[sources]]
kind = "inline"
rows = [[1, 2, 3.0, 4]]
[expect]
users = 1
items = 1
interactions = 1
sha256 = "{zeros}"
""".replace("{zeros}", "0" * 64)

BENCHMARK = """
title = "T"
describe = "D"
dataset = "small"
version = 1
columns = []
order = "none"
seeds = 1
time_limit_s = 1
memory_limit_bytes = 1
filters = [{ keep = "users", rows_at_least = 5, repeat = false }]
[split]
name = "per_user_ratio"
ratios = [0.8, 0.1, 0.1]
seed = 1
[asks.top-n]
kind = "rank"
metrics = ["ndcg@10"]
k = 10
exclude = "history"
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("datasets", "benchmarks", "reproductions"):
        (tmp_path / folder).mkdir()
    (tmp_path / "datasets" / "small.toml").write_text(DATASET)
    (tmp_path / "benchmarks" / "board.toml").write_text(BENCHMARK)
    return tmp_path


def edit(root: Path, file: str, old: str, new: str) -> None:
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new))


@pytest.mark.parametrize("name", folders.benchmark_names(ROOT))
def test_every_committed_benchmark_loads(name):
    benchmark = folders.load_benchmark(ROOT, name)
    assert benchmark.name == name
    assert folders.load_dataset(ROOT, benchmark.dataset).name == benchmark.dataset


def test_the_committed_recipes_are_these():
    names = (
        "amazon-beauty amazon-book amazon-sports amazon-toys gowalla ml-100k ml-10m ml-1m ml-1m-ncf ml-20m msd netflix"
    )
    assert folders.dataset_names(ROOT) == [*names.split(), "tiny", "yelp2018"]
    boards = """ml-100k-rate ml-100k-rate-kfold ml-1m-rate ml-100k-top-n ml-1m-top-n ml-100k-strong ml-1m-strong
        ml-20m-strong ml-100k-next ml-1m-next beauty-next sports-next toys-next gowalla-top-n ml-1m-ncf"""
    assert set(boards.split()) <= set(folders.benchmark_names(ROOT))


def test_no_python_beside_the_datasets():
    # a Python package named datasets would shadow Hugging Face's
    assert not list((ROOT / "datasets").rglob("*.py"))


def test_a_recipe_loads(root):
    benchmark = folders.load_benchmark(root, "board")
    assert benchmark.asks["top-n"].metrics == ("ndcg@10",)
    assert benchmark.needs == frozenset()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("describe =", "descrbe =", r'unknown key "descrbe" \(did you mean "describe"\?\)'),
        ("k = 10\n", "k = 10\nexxclude = 1\n", r'unknown key "asks.top-n.exxclude" \(did you mean "exclude"\?\)'),
        ("seed = 1\n", "sed = 1\n", r'"split.seed" is missing.*unknown key "split.sed" \(did you mean "seed"\?\)'),
        ('"per_user_ratio"', '"per_user_ration"', r'key "split.name": unknown "per_user_ration" \(did you mean'),
        ("version = 1", 'version = "x"', r'key "version": .* got \'x\''),
        ("version = 1\n", "", r'key "version" is missing; add it'),
        ("version = 1\n", 'version = 1\nname = "b"\n', r'key "name" is not for recipes'),
        ("version = 1", "version = ", r"not valid TOML: .*line 5"),
        ('"small"', '"smalll"', r'unknown dataset "smalll" \(did you mean "small"\?\)'),
        ("ndcg@10", "ndgc@10", r'asks.top-n": unknown metric "ndgc@10" \(did you mean'),
        ("ndcg@10", "ndcg@20", r'metric "ndcg@20" looks deeper than k = 10'),
        ('metrics = ["ndcg@10"]', 'metrics = ["rmse"]', r'"rmse" judges ratings, not lists'),
        ('"users"', '"usrs"', r'key "filters.0.keep": unknown "usrs" \(did you mean "users"'),
        ("repeat = false", "repat = false", r'unknown key "filters.0.repat" \(did you mean "repeat"\?\)'),
        ("{ keep =", '{ value_at_least = 4, value_above = 4, keep = "rows" }, { keep =', "either value_at_least"),
        ('"per_user_ratio"\nratios = [0.8, 0.1, 0.1]\nseed = 1', '"leave_last_out"', r'write order = "time"'),
        (
            '"per_user_ratio"\nratios = [0.8, 0.1, 0.1]\nseed = 1',
            '"kfold"\nn_folds = 2\nseed = 1\nfolds = [0]',
            r'ask "top-n" is of kind "rank"; split kfold answers "rate"',
        ),
        (
            '"per_user_ratio"\nratios = [0.8, 0.1, 0.1]\nseed = 1',
            '"kfold"\nn_folds = 2\nseed = 1\nfolds = [2]',
            "folds are numbered 0 to 1",
        ),
        (
            '"per_user_ratio"\nratios = [0.8, 0.1, 0.1]\nseed = 1',
            '"kfold"\nn_folds = 2\nseed = 1\nfolds = [0, 0]',
            "name one twice",
        ),
        ("[0.8, 0.1, 0.1]", "[0.8, -0.1, 0.3]", "greater than or equal to 0"),
        ("[0.8, 0.1, 0.1]", "[0.8, 0.2, 0.0]", "the first and the last are above 0"),
        ("[asks.top-n]", '[asks."../n"]', "should match pattern"),
    ],
)
def test_a_wrong_benchmark_says_what_to_write(root, old, new, message):
    edit(root, "benchmarks/board.toml", old, new)
    with pytest.raises(DataError, match=message) as caught:
        folders.load_benchmark(root, "board")
    assert str(caught.value).startswith("benchmarks/board.toml: ")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"inline"', '"inlinne"', r'key "sources.0.kind": unknown "inlinne" \(did you mean "inline"\?\)'),
        ("users = 1", "user = 1", r'unknown key "expect.user" \(did you mean "users"\?\)'),
        ("[1, 2, 3.0, 4]", '["a", 2, 3.0, 4]', r'key "sources.0.rows.0.0"'),
        ("0" * 64, "0" * 63, r'key "expect.sha256": String should match'),
    ],
)
def test_a_wrong_dataset_says_what_to_write(root, old, new, message):
    edit(root, "datasets/small.toml", old, new)
    with pytest.raises(DataError, match=message) as caught:
        folders.load_dataset(root, "small")
    assert str(caught.value).startswith("datasets/small.toml: ")


def test_an_unknown_parser_or_a_path_out_of_the_mirror_is_refused(root):
    mirror = 'kind = "mirror"\ngives = []\nratings = {{ path = "{path}", sha256 = "{sha}", parser = "{parser}" }}'
    inline = 'kind = "inline"\nrows = [[1, 2, 3.0, 4]]'
    edit(root, "datasets/small.toml", inline, mirror.format(path="a/b", sha="0" * 64, parser="u.dat"))
    with pytest.raises(DataError, match=r'unknown parser "u.dat" \(did you mean "u.data"'):
        folders.load_dataset(root, "small")
    edit(root, "datasets/small.toml", '"a/b"', '"../b"')
    with pytest.raises(DataError, match="stays inside it"):
        folders.load_dataset(root, "small")


@pytest.mark.parametrize("last", ["", "..", "a/.."])
def test_an_address_names_a_file_for_the_cache(root, last):
    url = f'kind = "url"\nurl = "https://example.org/{last}"\nsha256 = "unknown"\ngives = []'
    inline = 'kind = "inline"\nrows = [[1, 2, 3.0, 4]]'
    edit(root, "datasets/small.toml", inline, url + '\nratings = { parser = "u.data" }')
    with pytest.raises(DataError, match=r"sources\.0\.url"):
        folders.load_dataset(root, "small")


def test_a_wheel_stays_in_the_cache(root):
    wheel = f'kind = "wheel"\npackage = "a==1"\nfile = "../a.whl"\nsha256 = "{"0" * 64}"\ngives = []'
    inline = 'kind = "inline"\nrows = [[1, 2, 3.0, 4]]'
    edit(root, "datasets/small.toml", inline, wheel + '\nratings = { parser = "u.data" }')
    with pytest.raises(DataError, match=r"sources\.0\.file"):
        folders.load_dataset(root, "small")


def test_an_unknown_name_lists_the_closest(root):
    with pytest.raises(DataError, match=re.escape('unknown benchmark "boardd" (did you mean "board"?)')):
        folders.load_benchmark(root, "boardd")
    with pytest.raises(DataError, match=re.escape('unknown dataset "smalls" (did you mean "small"?)')):
        folders.load_dataset(root, "smalls")


def test_the_root_is_found_from_below_or_named(root, tmp_path_factory, monkeypatch):
    monkeypatch.delenv("RECARENA_ROOT", raising=False)
    below = root / "reproductions" / "mf"
    below.mkdir()
    assert folders.find_root(below) == root.resolve()
    monkeypatch.chdir(below)
    assert folders.find_root() == root.resolve()
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    with pytest.raises(DataError, match=r"no folder from .* upwards holds datasets/"):
        folders.find_root(elsewhere)
    monkeypatch.setenv("RECARENA_ROOT", str(root))
    assert folders.find_root(elsewhere) == root.resolve()
    monkeypatch.setenv("RECARENA_ROOT", str(elsewhere))
    with pytest.raises(DataError, match="RECARENA_ROOT is"):
        folders.find_root(root)
