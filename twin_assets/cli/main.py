"""`twin`: the project's operations for a terminal. Whatever it starts is a real Dagster run, which the UI shows.

Every slow import happens inside a command, so that help and `status` are instant.
"""

import getpass
import json
import shlex
import sys
from collections.abc import Callable, Iterable
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

import click

from twin_assets.cli.terminal import say, tell_outcome
from twin_assets.errors import BadInput, TwinError

if TYPE_CHECKING:
    from twin_assets.documents import AuthorProfile, Use
    from twin_assets.operations.runs import Outcome
    from twin_assets.stores import Stores

F = TypeVar("F", bound=Callable[..., Any])

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document, or JSON lines, on stdout.")
reason_option = click.option("--reason", required=True, help="Why; stored with the version.")


def print_json(value: object) -> None:
    """Print one line of JSON on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str))


def print_json_lines(rows: Iterable[dict[str, Any]]) -> None:
    """Print one line of JSON for each row on stdout."""
    for row in rows:
        print_json(row)


def fail(text: str) -> NoReturn:
    """End with status 1 and one line that says what is wrong and what to do."""
    click.echo(click.style("error: ", fg="red", bold=True) + text, err=True)
    sys.exit(1)


def one_line_errors(command: F) -> F:
    """Show errors that were raised for a person as one line, without a traceback."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except TwinError as error:
            fail(str(error))

    return run  # type: ignore[return-value]


def stores() -> "Stores":
    """The project's stores, with the environment set for this process and its children."""
    from twin_assets.settings import enter_project
    from twin_assets.stores import open_stores

    enter_project()
    return open_stores()


def report_outcomes(outcomes: "list[Outcome]", as_json: bool) -> None:
    """Print the outcomes if asked to; if any failed, name them and end with status 1."""
    if as_json:
        print_json([outcome.as_dict() for outcome in outcomes])
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        fail("failed: " + "; ".join(f"{outcome.part}: {outcome.text}" for outcome in failed))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="twin_assets")
def main() -> None:
    """Collect a person's own writing, learn their voice, draft in it.

    \b
    A first twin:
      twin author add me --name "My Name" --consent "My Name"
      twin source add me blog https://example.org/feed.xml
      twin run me
      twin approve me VERSION --reason "reads like me"
      twin draft me "Write a post about …"
    """  # noqa: D301


@main.group()
def author() -> None:
    """Authors: the people whose writing is collected, with their consent."""


@author.command("add")
@click.argument("author_id", metavar="ID")
@click.option("--name", required=True, help="The author's name.")
@click.option(
    "--consent", required=True, help='Who states that this writing is theirs, and when: "Ada Example, 2026-11-24".'
)
@one_line_errors
def author_add(author_id: str, name: str, consent: str) -> None:
    """Add an author. ID is made of a-z, 0-9 and '-'."""
    from twin_assets.documents import Consent
    from twin_assets.operations.collector import Collector

    Collector(stores()).add_author(author_id, name, Consent.stated(consent))
    say(f"added {author_id}; next: twin source add {author_id} PLATFORM WHERE")


@author.command("list")
@as_json
@one_line_errors
def author_list(as_json: bool) -> None:
    """List authors."""
    profiles = stores().warehouse.profiles.all()
    if as_json:
        print_json_lines(
            {"id": profile.id, "name": profile.name, "sources": len(profile.sources)} for profile in profiles
        )
        return
    for profile in profiles:
        click.echo(f"{profile.id:<24} {profile.name:<32} {len(profile.sources)} sources")
    if not profiles:
        say('no author yet; add one: twin author add ID --name NAME --consent "who, when"')


@author.command("show")
@click.argument("author_id", metavar="ID")
@as_json
@one_line_errors
def author_show(author_id: str, as_json: bool) -> None:
    """Show an author's profile; API keys are shown by their label only."""
    profile = (
        stores()
        .warehouse.profiles.get(author_id)
        .model_dump(mode="json", exclude={"api_keys": {"__all__": {"sha256"}}})
    )
    if as_json:
        print_json(profile)
    else:
        import yaml

        for one in profile["sources"]:
            one["proof"] = one["proof"] or "unproven"
        click.echo(yaml.safe_dump(profile, sort_keys=False, allow_unicode=True).rstrip())


@author.command("set")
@click.argument("author_id", metavar="ID")
@click.option("--name", help="The author's name.")
@click.option(
    "--train-private/--no-train-private",
    default=None,
    help="Whether models learn from private drafts, posts and repositories, which are never quoted.",
)
@click.option(
    "--promotion",
    type=click.Choice(["manual", "automatic"]),
    help="Whether a version that passes every gate goes into production automatically.",
)
@click.option("--recipe", "recipes", multiple=True, help="A recipe to train automatically; may be repeated.")
@one_line_errors
def author_set(
    author_id: str,
    name: str | None,
    train_private: bool | None,
    promotion: Literal["manual", "automatic"] | None,
    recipes: tuple[str, ...],
) -> None:
    """Change a profile; what is not named stays as it is."""
    from twin_assets.documents import RecipeChoice
    from twin_assets.language.base_models import recipe_files
    from twin_assets.operations import runs, usage

    opened = stores()
    if unknown := sorted(set(recipes) - recipe_files(opened.settings).keys()):
        raise BadInput(f"no recipe {unknown[0]!r} (recipes: {', '.join(sorted(recipe_files(opened.settings)))})")

    def change(profile: "AuthorProfile") -> None:
        profile.name = name or profile.name
        profile.promotion = promotion or profile.promotion
        if recipes:
            wanted = dict.fromkeys(recipes)
            profile.recipes = [RecipeChoice(name=one, overrides=profile.overrides(one)) for one in wanted]

    opened.warehouse.profiles.change(author_id, change)
    with runs.dagster_instance() as instance:
        runs.register(instance, opened)
        if train_private is not None and usage.train_private(instance, opened, author_id, train_private):
            say(f"this takes effect with the next features run: twin run {author_id} --until instruction_dataset")
    say(f"changed {author_id}; see: twin author show {author_id}")


@author.command("erase")
@click.argument("author_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask to type the id.")
@as_json
@one_line_errors
def author_erase(author_id: str, yes: bool, as_json: bool) -> None:
    """Erase an author: documents, features, models, drafts, runs, logs, exports. This cannot be undone.

    What is outside this project stays: their site, their folders, their accounts.
    """
    from twin_assets.operations.erasure import check_erasable, erase
    from twin_assets.operations.runs import dagster_instance

    opened = stores()
    with dagster_instance() as instance:
        check_erasable(instance, opened, author_id)
        if (
            not yes
            and click.prompt(f"This cannot be undone. Type {author_id} to erase all of it", err=True) != author_id
        ):
            raise BadInput("that is a different id: nothing was erased")
        erased = erase(instance, opened, author_id, say)
    if as_json:
        print_json(erased.as_dict())
    say(f"erased {author_id}; a running `twin serve` may still hold their model in memory: restart it")
    for place in erased.elsewhere:
        say(f"still at wandb: delete {place} there")


@main.group()
def source() -> None:
    """Sources: the places an author's writing comes from."""


@source.command("add")
@click.argument("author_id", metavar="ID")
@click.argument("platform")
@click.argument("where")
@click.option(
    "--token-env", help="NAME of the environment variable that holds the token; the token itself is never stored."
)
@click.option("--cron", help='When to collect automatically, e.g. "0 6 * * *".')
@click.option(
    "--option", "options", multiple=True, metavar="KEY=VALUE", help="An option of the platform; may be repeated."
)
@one_line_errors
def source_add(
    author_id: str, platform: str, where: str, token_env: str | None, cron: str | None, options: tuple[str, ...]
) -> None:
    """Add a source. WHERE is a URL, a handle, a folder or an archive, depending on the platform."""
    from twin_assets.operations.sources import add_source

    added = add_source(stores(), author_id, platform, where, token_env=token_env, cron=cron, options=_pairs(options))
    say(f"added source {added.id}; next: twin run {author_id}")
    if cron:
        from twin_assets.operations.runs import daemon_runs, dagster_instance

        with dagster_instance() as instance:
            if not daemon_runs(instance):
                say("its cron needs a daemon, and none is running: start one with `dagster dev`")


def _pairs(options: tuple[str, ...]) -> dict[str, str]:
    wrong = [option for option in options if "=" not in option]
    if wrong:
        raise BadInput(f"--option {wrong[0]}: write KEY=VALUE")
    return {name: value for name, _, value in (option.partition("=") for option in options)}


@source.command("list")
@click.argument("author_id", metavar="ID")
@as_json
@one_line_errors
def source_list(author_id: str, as_json: bool) -> None:
    """List an author's sources with the outcome of their last crawl."""
    from twin_assets.operations.sources import list_sources

    rows = [one.source.model_dump() | {"last_crawl": one.last_crawl} for one in list_sources(stores(), author_id)]
    if as_json:
        print_json_lines(rows)
        return
    for row in rows:
        crawl = row["last_crawl"]
        last = (
            f"last crawl {crawl['finished_at']:%Y-%m-%d %H:%M}"
            if crawl and crawl.get("finished_at")
            else "never collected"
        )
        proven = f"proven by {row['proof']['url']}" if row["proof"] else "unproven"
        click.echo(f"{row['id']:<24} {row['platform']:<10} {row['where']}  ({last}, {proven})")


@source.command("token")
@click.argument("author_id", metavar="ID")
@click.argument("source_id", metavar="SOURCE")
@one_line_errors
def source_token(author_id: str, source_id: str) -> None:
    """Print the token that proves a source to be the author's once it is on the source's page; it is not secret."""
    from twin_assets.operations.ownership import ownership_token
    from twin_assets.operations.sources import source_of

    profile = stores().warehouse.profiles.get(author_id)
    click.echo(ownership_token(profile, source_of(profile, source_id)))
    say(f"put it anywhere in the page's text, such as the bio; then: twin source prove {author_id} {source_id}")


@source.command("prove")
@click.argument("author_id", metavar="ID")
@click.argument("source_id", metavar="SOURCE")
@click.argument("url", required=False)
@one_line_errors
def source_prove(author_id: str, source_id: str, url: str | None) -> None:
    """Prove that a source is the author's: by the token on its page, or by rel="me" links to and from a proven source.

    URL is the page to look at, one of the source's own; default: the source's URL.
    """
    from twin_assets.operations.ownership import prove_source

    proven = prove_source(stores(), author_id, source_id, url)
    if proven.proof:
        say(f"{source_id} is proven by {proven.proof.url}")


@source.command("remove")
@click.argument("author_id", metavar="ID")
@click.argument("source_id", metavar="SOURCE")
@one_line_errors
def source_remove(author_id: str, source_id: str) -> None:
    """Remove a source; its documents stay."""
    from twin_assets.operations.sources import remove_source

    remove_source(stores(), author_id, source_id)
    say(f"removed {source_id}; its documents stay in the warehouse")


@main.group()
def key() -> None:
    """API keys: needed if other machines can reach the server."""


@key.command("add")
@click.argument("author_id", metavar="ID")
@click.option("--label", default="key", show_default=True, help="What the key is for.")
@one_line_errors
def key_add(author_id: str, label: str) -> None:
    """Make a key for an author and print it once; only its hash is kept."""
    from twin_assets.documents import ApiKey
    from twin_assets.serving.access import new_key

    token, sha256 = new_key()
    made = ApiKey(label=label, sha256=sha256)
    stores().warehouse.profiles.change(author_id, lambda profile: profile.api_keys.append(made))
    say(f"this key gives access to {author_id} and no other author, and is not shown again:")
    click.echo(token)


@key.command("list")
@click.argument("author_id", metavar="ID")
@as_json
@one_line_errors
def key_list(author_id: str, as_json: bool) -> None:
    """List an author's keys by label and age; the keys themselves are not stored."""
    keys = stores().warehouse.profiles.get(author_id).api_keys
    if as_json:
        print_json_lines({"label": one.label, "created_at": one.created_at} for one in keys)
        return
    for one in keys:
        click.echo(f"{one.label:<24} made {one.created_at:%Y-%m-%d %H:%M}")


@key.command("remove")
@click.argument("author_id", metavar="ID")
@click.argument("label")
@one_line_errors
def key_remove(author_id: str, label: str) -> None:
    """Remove an author's keys with this label; they stop working at once."""

    def remove(profile: "AuthorProfile") -> None:
        kept = [one for one in profile.api_keys if one.label != label]
        if len(kept) == len(profile.api_keys):
            known = ", ".join(sorted({one.label for one in kept})) or "none"
            raise BadInput(f"{author_id} has no key labelled {label!r} (labels: {known})")
        profile.api_keys = kept

    stores().warehouse.profiles.change(author_id, remove)
    say(f"removed {label}: it no longer works")


@main.command()
@click.argument("author_id", metavar="ID")
@click.option("--platform", help="Only this platform.")
@as_json
@one_line_errors
def collect(author_id: str, platform: str | None, as_json: bool) -> None:
    """Collect only: fetch what is new from every source."""
    from twin_assets.operations import runs

    opened = stores()
    with runs.dagster_instance() as instance:
        runs.register(instance, opened)
        report_outcomes(runs.collect(instance, opened, author_id, tell_outcome, platform), as_json)


@main.command()
@click.argument("author_id", metavar="ID")
@click.option("--recipe", "recipes", multiple=True, help="A recipe to train; default: those of the author's profile.")
@click.option(
    "--until", default="evaluation_report", show_default=True, help="Stop after this asset; `raw` only collects."
)
@as_json
@one_line_errors
def run(author_id: str, recipes: tuple[str, ...], until: str, as_json: bool) -> None:
    """Run what is out of date in the graph, up to an asset; prints what ran and what was skipped."""
    from twin_assets.operations import runs

    opened = stores()
    chosen = recipes or tuple(choice.name for choice in opened.warehouse.profiles.get(author_id).recipes)
    with runs.dagster_instance() as instance:
        report_outcomes(runs.run_graph(instance, opened, author_id, chosen, until, tell_outcome), as_json)


@main.command()
@click.argument("author_id", metavar="ID")
@as_json
@one_line_errors
def status(author_id: str, as_json: bool) -> None:
    """Show documents, chunks, examples by split, dataset version, models with stage and metrics."""
    from twin_assets.operations.status import author_status, status_text

    found = author_status(stores(), author_id)
    print_json(found) if as_json else click.echo(status_text(found))


@main.command()
@click.argument("author_id", metavar="ID")
@click.option("--platform", help="Only this platform.")
@click.option("--cleaned", is_flag=True, help="List the cleaned documents instead of the raw ones.")
@as_json
@one_line_errors
def documents(author_id: str, platform: str | None, cleaned: bool, as_json: bool) -> None:
    """List an author's documents; those deleted at their source are marked."""
    from twin_assets.operations.status import document_rows

    for row in document_rows(stores(), author_id, platform, cleaned):
        if as_json:
            print_json(row)
        else:
            mark = "gone " if row.get("deleted_at") else ""
            mark += f"not for {' and '.join(row['left_out'])} " if row.get("left_out") else ""
            click.echo(f"{row['id']}  {row['category']:<8} {mark}{row['title'] or ''}")


@main.group()
def document() -> None:
    """One document: what it may be used for."""


@document.command("leave-out")
@click.argument("author_id", metavar="ID")
@click.argument("document_id")
@click.option(
    "--from",
    "use",
    type=click.Choice(["training", "quoting", "both"]),
    default="both",
    show_default=True,
    help="Training: the answers a model learns. Quoting: the passages a draft may use.",
)
@click.option("--take-back", is_flag=True, help="Undo it: let the document be used again.")
@one_line_errors
def document_leave_out(
    author_id: str, document_id: str, use: Literal["training", "quoting", "both"], take_back: bool
) -> None:
    """Keep a document out of training, quoting or both. DOCUMENT_ID is as `twin documents` shows it."""
    from twin_assets.operations.collector import Collector
    from twin_assets.operations.usage import START_FEATURES, document_of

    uses: list[Use] = ["training", "quoting"] if use == "both" else [use]
    opened = stores()
    before = set(document_of(opened, author_id, document_id).left_out)
    wanted = before.difference(uses) if take_back else before.union(uses)
    left_out = Collector(opened).exclude(author_id, document_id, wanted)
    for sentence in left_out.sentences(document_id, START_FEATURES.format(author=author_id)):
        say(sentence)


@main.command()
@click.argument("author_id", metavar="ID")
@click.argument("query")
@click.option("-k", "k", default=10, show_default=True, help="How many hits to print.")
@click.option("--category", type=click.Choice(["article", "post", "code"]))
@as_json
@one_line_errors
def search(author_id: str, query: str, k: int, category: str | None, as_json: bool) -> None:
    """Search an author's own writing, by meaning and by words."""
    from twin_assets.operations.search import search_writing

    opened = stores()
    opened.warehouse.profiles.get(author_id)
    opened.features.table(author_id, "embeddings").pinned  # noqa: B018  raises when there is nothing to search
    found = search_writing(opened, author_id, query, k, category, quotable_only=False)
    for warning in found.warnings:
        say(warning)
    for hit in found.hits:
        if as_json:
            print_json({name: getattr(hit, name) for name in ("document_id", "title", "url", "text", "score")})
        else:
            click.echo(f"{hit.score:.4f}  {hit.title}  {hit.url}\n        {' '.join(hit.text.split())[:160]}")


@main.group()
def dataset() -> None:
    """The instruction dataset."""


@dataset.command("export")
@click.argument("author_id", metavar="ID")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@click.option("--version", help="A dataset version; default: the latest.")
@one_line_errors
def dataset_export(author_id: str, folder: Path, version: str | None) -> None:
    """Write a dataset version to DIR: a Hugging Face `datasets` folder, JSONL per split, and its card, README.md."""
    from twin_assets.operations.status import export_dataset

    for path, rows in export_dataset(stores(), author_id, folder, version).items():
        say(f"{path}: {rows} examples")


@main.command()
@click.argument("author_id", metavar="ID")
@as_json
@one_line_errors
def models(author_id: str, as_json: bool) -> None:
    """List an author's model versions with stage, bits per byte and gates."""
    from twin_assets.operations.status import model_row, models_text

    opened = stores()
    opened.warehouse.profiles.get(author_id)
    rows = [model_row(manifest) for manifest in opened.models.versions(author_id)]
    print_json_lines(rows) if as_json else click.echo(models_text(rows))


def _promote(author_id: str, version: str, reason: str) -> None:
    from twin_assets.operations.approval import approve

    approve(stores(), author_id, version, getpass.getuser(), reason)
    say(f"{author_id}@{version} is in production")


def _add_promotion_command(name: str, text: str) -> None:
    """Add a command that puts a version into production."""

    @main.command(name, help=text)
    @click.argument("author_id", metavar="ID")
    @click.argument("version")
    @reason_option
    @one_line_errors
    def promotion(author_id: str, version: str, reason: str) -> None:
        _promote(author_id, version, reason)


_add_promotion_command("approve", "Put a version into production.")
_add_promotion_command("rollback", "Put an earlier version back into production.")


@main.command()
@click.argument("author_id", metavar="ID")
@click.argument("version")
@reason_option
@one_line_errors
def reject(author_id: str, version: str, reason: str) -> None:
    """Mark a version so that it is never promoted."""
    from twin_assets.operations import approval

    approval.reject(stores(), author_id, version, getpass.getuser(), reason)
    say(f"{author_id}@{version} is rejected")


@main.command()
@click.argument("author_id", metavar="ID")
@click.argument("prompt")
@click.option("--link", "links", multiple=True, metavar="URL", help="A page to use as a source; may be repeated.")
@click.option("--format", "fmt", type=click.Choice(["article", "post", "code"]), help="What to write.")
@click.option(
    "--model", "version", help="A version, or `untrained`; default: production, or the untrained base if there is none."
)
@as_json
@one_line_errors
def draft(
    author_id: str, prompt: str, links: tuple[str, ...], fmt: str | None, version: str | None, as_json: bool
) -> None:
    """Draft in the author's voice, grounded in what they have written."""
    from twin_assets.cli.draft_output import print_draft
    from twin_assets.documents import Category

    category = Category(fmt) if fmt else None
    print_draft(stores(), author_id, prompt, category=category, version=version, links=links, as_json=as_json)


@main.command()
@click.option("--host", help="Address to listen on; API keys are required if other machines can reach it.")
@click.option("--port", type=int, help="Port to listen on.")
@one_line_errors
def serve(host: str | None, port: int | None) -> None:
    """Serve the REST API and the app."""
    from twin_assets.operations.approval import approve
    from twin_assets.operations.collector import Collector
    from twin_assets.serving.server import serve as run_server

    opened = stores()
    host, port = host or opened.settings.api_host, port or opened.settings.api_port
    run_server(opened, host, port, partial(approve, opened), Collector(opened))


@main.command()
@click.option("--author", "author_id", default="wren", show_default=True, help="Author id.")
@click.option(
    "--source", "sources", default="", help="Feeds, sites, folders or zips, separated by spaces; default: the sample."
)
@click.option("--recipe", help="How to train the model; default: the small real model installed with this project.")
@click.option("--serve/--no-serve", "with_servers", default=True, help="Serve the Dagster UI and the app afterwards.")
@one_line_errors
def demo(author_id: str, sources: str, recipe: str | None, with_servers: bool) -> None:
    """Take an author through the whole graph; `make demo` calls this."""
    from twin_assets.cli.demo import run_demo
    from twin_assets.documents import DEFAULT_RECIPE

    run_demo(stores(), author_id, shlex.split(sources), recipe or DEFAULT_RECIPE, with_servers)


if __name__ == "__main__":
    main()
