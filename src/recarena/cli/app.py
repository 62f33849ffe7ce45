"""The commands, each a thin layer over one room of the house; a room is entered when its command is called.

Importing all of them at the top would make ``--help`` wait for packages that it does not need.
"""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Annotated

import typer

from recarena.cli.show import console, fail, note, short

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""The arena for recommender papers: same data, same split, same metrics, one honest ranking.

First steps: `recarena doctor` says what can run here, `recarena run -b 'ml-100k-*'` runs it,
`recarena board ml-100k-rate` shows a board, `recarena new mf kim` starts an implementation of your own.""",
)
data = typer.Typer(no_args_is_help=True, help="Datasets: list, fetch, verify, describe, add, export.")
app.add_typer(data, name="data")
metrics = typer.Typer(no_args_is_help=True, help="Metrics: what each one is, and which library prints it.")
app.add_typer(metrics, name="metrics")
question = typer.Typer(no_args_is_help=True, help="Questions: write one to take away.")
app.add_typer(question, name="question")

Benchmarks = Annotated[
    list[str] | None, typer.Option("--benchmark", "-b", help="A board, or a pattern such as 'ml-100k-*'. Repeatable.")
]
Implementations = Annotated[
    list[str] | None, typer.Option("--implementation", "-i", help="PAPER/WHO, or PAPER for all of it. Repeatable.")
]
Results = Annotated[
    Path | None,
    typer.Option("--results", help="Folder of records and boards, in place of results/ (RECARENA_RESULTS)."),
]


def _version(asked: bool) -> None:
    if asked:
        try:
            typer.echo(importlib.metadata.version("recarena"))
        except importlib.metadata.PackageNotFoundError:
            typer.echo("not installed: run from a source folder")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    benchmark: Benchmarks = None,
    implementation: Implementations = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Seeds for each fold; the benchmark's number by default.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A hyper-parameter; such a run gets a row of its own."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only this many queries per ask, for a quick look; never ranked.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Cores for each run; all by default.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; cuda where a driver answers by default.")] = None,
    time_limit: Annotated[float | None, typer.Option(min=0.1, help="Seconds for each run.")] = None,
    memory_limit: Annotated[float | None, typer.Option(min=0.01, help="GiB for each run.")] = None,
    results: Results = None,
) -> None:
    """Run implementations on benchmarks, write records and boards, print the boards.

    What has a valid record (same question, code, settings, packages, seed) is not run again; a failed run is.
    Nothing is lost when you stop it: the next call goes on from there. Ends with 1 if a run failed.
    """
    from recarena.cli.boards import print_board, write_boards
    from recarena.cli.project import Project
    from recarena.cli.runs import Options, run_benchmarks

    options = Options(
        benchmarks=benchmark or [],
        implementations=implementation or [],
        seeds=seeds,
        overrides=_overrides(set_ or []),
        limit=limit,
        threads=threads,
        device=device,
        time_limit_seconds=time_limit,
        memory_limit_bytes=None if memory_limit is None else int(memory_limit * 2**30),
    )
    project = Project(results)
    project.check_results()
    try:
        played, failed = run_benchmarks(project, options)
    except KeyboardInterrupt:
        fail("stopped; every finished run has its record, and the same command goes on from there")
        raise typer.Exit(130) from None
    write_boards(project, played)
    for one in played:
        print_board(project, one)
    note(f"boards and records: {short(project.results)}")
    if failed:
        raise typer.Exit(1)


@app.command()
def board(
    name: Annotated[
        list[str] | None, typer.Argument(help="Boards or patterns; all that have records by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one object an ask.")] = False,
    markdown: Annotated[bool, typer.Option("--md", help="The markdown page.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Fail unless every written board equals a fresh render.")
    ] = False,
    results: Results = None,
) -> None:
    """Show boards from the records there are, and write their pages."""
    from recarena.cli.boards import check_boards, print_board, write_boards
    from recarena.cli.project import Project

    project = Project(results)
    if check:
        wrong = check_boards(project)
        for line in wrong:
            fail(line)
        if wrong:
            raise typer.Exit(1)
        console.print("every board equals a fresh render of its records")
        return
    chosen = project.benchmarks(name) if name else project.recorded()
    if as_json:
        from recarena.boards.render import as_json as objects

        asks = [ask for one in chosen for ask in objects(project.board(one))]
        typer.echo(json.dumps(asks, indent=1, ensure_ascii=False))
        return
    write_boards(project, chosen)
    for one in chosen:
        print_board(project, one, markdown=markdown)


@app.command()
def compare(
    one: Annotated[str, typer.Argument(help="A row of the board, such as fm/kim.")],
    other: Annotated[str, typer.Argument(help="The row to compare it with.")],
    benchmark: Annotated[str, typer.Option("--benchmark", "-b", help="The board.")],
    markdown: Annotated[bool, typer.Option("--md", help="A markdown page.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    as_html: Annotated[bool, typer.Option("--html", help="One self-contained HTML file.")] = False,
    figure: Annotated[
        Path | None, typer.Option(help="Draw it: FILE.png or FILE.svg; both where FILE has no suffix.")
    ] = None,
    results: Results = None,
) -> None:
    """Set two rows of a board side by side: how sure the difference is, where it lies, what else differs, the cost."""
    from recarena.cli.compare import compare as duel
    from recarena.cli.project import Project

    if markdown + as_json + as_html > 1:
        raise typer.BadParameter("--md, --json and --html are three pages: choose one")
    layout = "markdown" if markdown else "json" if as_json else "html" if as_html else "terminal"
    project = Project(results)
    (chosen,) = project.benchmarks([benchmark])
    duel(project, (one, other), chosen, layout, figure)


@app.command()
def check(
    implementation: Annotated[list[str] | None, typer.Argument(help="PAPER/WHO; all by default.")] = None,
) -> None:
    """Conformance: play every implementation on tiny boards, in seconds, and say in plain words what is wrong."""
    from recarena.cli.conformance import conform, verdicts
    from recarena.cli.project import Project

    failed = verdicts(conform(Project(), implementation or [], note))
    raise typer.Exit(1 if failed else 0)


@app.command()
def new(
    paper: Annotated[str, typer.Argument(help="Folder under reproductions/, such as mf.")],
    who: Annotated[str, typer.Argument(help="Your name: the file becomes PAPER/WHO.py.")],
) -> None:
    """Write a working implementation to edit."""
    from recarena.cli.newcomer import write_template
    from recarena.cli.project import Project

    path = write_template(Project().root, paper, who)
    console.print(
        f"wrote {path} (and the paper's paper.toml and README.md, where there were none)\n"
        f"  edit it, then:  recarena check {paper}/{who}\n"
        f"  your first row: recarena run -i {paper}/{who} -b ml-100k-rate --results bench-results"
    )


@app.command("ls")
def list_all() -> None:
    """List benchmarks and implementations."""
    from recarena.cli.listing import list_everything
    from recarena.cli.project import Project

    list_everything(Project())


@app.command()
def doctor() -> None:
    """Print versions, devices, threads, caches, and which benchmarks can run here, or why not."""
    from recarena.cli.doctor import examine
    from recarena.cli.project import Project

    examine(Project())


@data.command("ls")
def data_list() -> None:
    """List the datasets: sizes, licences, and where they are."""
    from recarena.cli.data import list_datasets
    from recarena.cli.project import Project

    list_datasets(Project())


@data.command("fetch")
def data_fetch(name: Annotated[list[str], typer.Argument(help="Datasets to fetch.")]) -> None:
    """Fetch datasets into the cache and check them."""
    from recarena.cli.data import fetch_datasets
    from recarena.cli.project import Project

    fetch_datasets(Project(), name)


@data.command("verify")
def data_verify(
    name: Annotated[list[str] | None, typer.Argument(help="Datasets to check; all by default.")] = None,
) -> None:
    """Hold every file at hand against its checksum and its recipe."""
    from recarena.cli.data import verify_datasets
    from recarena.cli.project import Project

    verify_datasets(Project(), name or [])


@data.command("card")
def data_card(
    name: Annotated[str, typer.Argument(help="A dataset.")],
    markdown: Annotated[bool, typer.Option("--md", help="A markdown page.")] = False,
) -> None:
    """Say what is in a dataset: counts, density, times, ratings, fingerprint, licence."""
    from recarena.cli.data import show_card
    from recarena.cli.project import Project

    show_card(Project(), name, markdown=markdown)


@data.command("add")
def data_add(
    file: Annotated[Path, typer.Argument(help="CSV, TSV, parquet, or RecBole's .inter.")],
    name: Annotated[str, typer.Option(help="Of the dataset: small letters, digits, hyphens.")],
    user: Annotated[str | None, typer.Option(help="Column of the user.")] = None,
    item: Annotated[str | None, typer.Option(help="Column of the item.")] = None,
    value: Annotated[str | None, typer.Option(help='Column of the rating; "" for none.')] = None,
    time: Annotated[str | None, typer.Option(help='Column of the time, in seconds since 1970; "" for none.')] = None,
    separator: Annotated[str | None, typer.Option(help="One character; found from the header by default.")] = None,
) -> None:
    """Make a dataset of a file of your own: writes datasets/NAME.toml, and copies nothing."""
    from recarena.cli.data import add_file
    from recarena.cli.project import Project

    named = {"user": user, "item": item, "value": value, "time": time}
    add_file(Project(), file, name, {of: column for of, column in named.items() if column is not None}, separator)


@data.command("export")
def data_export(
    name: Annotated[str, typer.Argument(help="A dataset, or a benchmark for its parts.")],
    folder: Annotated[Path, typer.Argument(help="Where to write.")],
    layout: Annotated[str, typer.Option("--format", help="recbole (.inter) or trec (qrels).")] = "recbole",
    ask: Annotated[str | None, typer.Option(help="The benchmark's ask; its first by default.")] = None,
) -> None:
    """Write a dataset, or a benchmark's train, validation and test, for RecBole; or its answers as TREC qrels.

    A name that is both means the dataset, unless you name an ask or want qrels.
    """
    from recarena.cli.data import export_data
    from recarena.cli.project import Project

    export_data(Project(), name, folder, layout, ask)


@metrics.command("ls")
def metrics_list() -> None:
    """List the metrics."""
    from recarena.cli.metrics import list_metrics

    list_metrics()


@metrics.command("explain")
def metrics_explain(name: Annotated[str, typer.Argument(help="Such as ndcg@10.")]) -> None:
    """Print a metric's formula, range, source and edge cases, and which library prints the same number."""
    from recarena.cli.metrics import print_metric

    print_metric(name)


@metrics.command("pages", hidden=True)
def metrics_pages(folder: Annotated[Path, typer.Argument(help="docs/metrics")]) -> None:
    """Write the documents' pages again."""
    from recarena.cli.metrics import write_pages

    write_pages(folder)


@question.command("export")
def question_export(
    benchmark: Annotated[str, typer.Argument(help="A benchmark.")],
    folder: Annotated[Path, typer.Argument(help="Where to write: new, or empty.")],
) -> None:
    """Write a benchmark's questions, a folder for each fold, and what to hand back; never an answer."""
    from recarena.cli.project import Project
    from recarena.cli.submit import export_question

    export_question(Project(), benchmark, folder)


@app.command()
def submit(
    benchmark: Annotated[str, typer.Argument(help="The benchmark whose question was answered.")],
    path: Annotated[Path, typer.Argument(help="A file (.npy, .parquet, .run), or a folder with one for each fold.")],
    who: Annotated[str, typer.Option("--as", metavar="NAME", help="Your name: the row becomes PAPER/NAME.")],
    paper: Annotated[str | None, typer.Option(help="The paper that you implemented, such as fm.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Write over what NAME handed in before.")] = False,
    results: Results = None,
) -> None:
    """Hand in predictions without code: judged and ranked as everyone's, marked "predictions only"."""
    from recarena.cli.project import Project
    from recarena.cli.submit import submit_predictions

    submit_predictions(Project(results), benchmark, path, who, paper, replace)


@app.command()
def verify(
    record: Annotated[
        list[Path], typer.Argument(help="Records (results/BOARD/ROW/seed-0.json), or folders of them: a row, a board.")
    ],
    who: Annotated[str, typer.Option("--as", metavar="NAME", help="Your name, as the board will show it.")],
    other_packages: Annotated[
        bool, typer.Option("--other-packages", help="Go on with the packages at hand; the receipt names what differs.")
    ] = False,
    results: Results = None,
) -> None:
    """Run records again from their commits and write receipts: was it reproduced? Ends with 1 if one was not."""
    from recarena.cli.project import Project
    from recarena.cli.verify import verify_records

    wrong = verify_records(Project(results), record, who, other_packages)
    raise typer.Exit(1 if wrong else 0)


@app.command()
def review(
    implementation: Annotated[str, typer.Argument(help="PAPER/WHO.")],
    benchmark: Benchmarks = None,
    out: Annotated[Path | None, typer.Option(help="Write the page to a file in place of printing it.")] = None,
    results: Results = None,
) -> None:
    """Write a review sheet: the reproducibility checklist from run facts, with blanks for people."""
    from recarena.cli.project import Project
    from recarena.cli.review import review as write_sheet

    write_sheet(Project(results), implementation, benchmark or [], out)


def _overrides(settings: list[str]) -> dict[str, str]:
    overrides = {}
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise typer.BadParameter(f"--set {text}: expected NAME=VALUE, such as --set n_factors=64")
        overrides[name.strip()] = value.strip()
    return overrides
