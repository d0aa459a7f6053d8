"""`twin`: the terminal's view of the same functions. Whatever it starts is a real Dagster run, seen in the UI later.

Every import that costs time happens inside a command, so that help and `status` are instant.
"""

import getpass
import json
import shlex
import sys
from collections.abc import Callable, Iterable
from functools import wraps
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

as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document, or JSON lines, on stdout.")
reason_option = click.option("--reason", required=True, help="Why; kept with the version.")


def put(value: object) -> None:
    """One JSON line on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False, default=str))


def put_all(rows: Iterable[dict[str, Any]]) -> None:
    """JSON lines on stdout."""
    for row in rows:
        put(row)


def fail(text: str) -> NoReturn:
    """End with status 1 and one line that says what to do."""
    click.echo(click.style("error: ", fg="red", bold=True) + text, err=True)
    sys.exit(1)


def plain_errors(command: F) -> F:
    """Errors that were raised for a person are shown as one line, without a traceback."""

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


def finish(outcomes: "list[Outcome]", as_json: bool) -> None:
    """Print the outcomes if asked to, and end with status 1 naming what failed."""
    if as_json:
        put([outcome.as_dict() for outcome in outcomes])
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if failed:
        fail("did not work: " + "; ".join(f"{outcome.part}: {outcome.text}" for outcome in failed))


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
    """Authors: who writes, and that they agreed."""


@author.command("add")
@click.argument("author_id", metavar="ID")
@click.option("--name", required=True, help="The author's name.")
@click.option(
    "--consent", required=True, help='Who states that this writing is theirs, and when: "Ada Example, 2026-11-24".'
)
@plain_errors
def author_add(author_id: str, name: str, consent: str) -> None:
    """Add an author. ID is a slug of a-z, 0-9 and '-'."""
    from twin_assets.documents import Consent
    from twin_assets.operations.collector import add_author
    from twin_assets.operations.runs import dagster_instance, register

    opened = stores()
    add_author(opened, author_id, name, Consent.stated(consent))
    with dagster_instance() as instance:
        register(instance, opened)
    say(f"added {author_id}; next: twin source add {author_id} PLATFORM WHERE")


@author.command("list")
@as_json
@plain_errors
def author_list(as_json: bool) -> None:
    """List authors."""
    profiles = stores().warehouse.profiles()
    if as_json:
        put_all({"id": profile.id, "name": profile.name, "sources": len(profile.sources)} for profile in profiles)
        return
    for profile in profiles:
        click.echo(f"{profile.id:<24} {profile.name:<32} {len(profile.sources)} sources")
    if not profiles:
        say('no author yet; add one: twin author add ID --name NAME --consent "who, when"')


@author.command("show")
@click.argument("author_id", metavar="ID")
@as_json
@plain_errors
def author_show(author_id: str, as_json: bool) -> None:
    """Show an author's profile; keys are shown by their label only."""
    profile = (
        stores().warehouse.profile(author_id).model_dump(mode="json", exclude={"api_keys": {"__all__": {"sha256"}}})
    )
    if as_json:
        put(profile)
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
    help="Whether models learn from drafts, connections-only posts and private repositories; never quoted.",
)
@click.option(
    "--promotion",
    type=click.Choice(["manual", "automatic"]),
    help="Whether a version that passes every gate goes into production by itself.",
)
@click.option("--recipe", "recipes", multiple=True, help="Train these recipes by themselves; may be repeated.")
@plain_errors
def author_set(
    author_id: str,
    name: str | None,
    train_private: bool | None,
    promotion: Literal["manual", "automatic"] | None,
    recipes: tuple[str, ...],
) -> None:
    """Change a profile: only what is named."""
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

    opened.warehouse.change_profile(author_id, change)
    with runs.dagster_instance() as instance:
        runs.register(instance, opened)
        if train_private is not None and usage.train_private(instance, opened, author_id, train_private):
            say(f"the next features run takes that up: twin run {author_id} --until instruction_dataset")
    say(f"changed {author_id}; see: twin author show {author_id}")


@author.command("erase")
@click.argument("author_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask for the id.")
@as_json
@plain_errors
def author_erase(author_id: str, yes: bool, as_json: bool) -> None:
    """Erase an author: documents, features, models, drafts, runs, logs, exports. There is no way back.

    What lies outside this project stays: their site, their folders, their accounts.
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
            raise BadInput("that is another id: nothing was erased")
        erased = erase(instance, opened, author_id, say)
    if as_json:
        put(erased.as_dict())
    say(f"erased {author_id}; a running `twin serve` may hold their model in memory: start it anew")
    for place in erased.elsewhere:
        say(f"still at wandb, to be deleted there: {place}")


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
@click.option("--cron", help='When to collect by itself, e.g. "0 6 * * *".')
@click.option(
    "--option", "options", multiple=True, metavar="KEY=VALUE", help="A platform's own option; may be repeated."
)
@plain_errors
def source_add(
    author_id: str, platform: str, where: str, token_env: str | None, cron: str | None, options: tuple[str, ...]
) -> None:
    """Add a source. WHERE is a URL, a handle, a folder or an archive, as the platform has it."""
    from twin_assets.operations.sources import add_source

    added = add_source(stores(), author_id, platform, where, token_env=token_env, cron=cron, options=_pairs(options))
    say(f"added source {added.id}; next: twin run {author_id}")
    if cron:
        from twin_assets.operations.runs import daemon_runs, dagster_instance

        with dagster_instance() as instance:
            if not daemon_runs(instance):
                say("its cron waits for a daemon, and none is running: start one with `dagster dev`")


def _pairs(options: tuple[str, ...]) -> dict[str, str]:
    wrong = [option for option in options if "=" not in option]
    if wrong:
        raise BadInput(f"--option {wrong[0]}: write KEY=VALUE")
    return {name: value for name, _, value in (option.partition("=") for option in options)}


@source.command("list")
@click.argument("author_id", metavar="ID")
@as_json
@plain_errors
def source_list(author_id: str, as_json: bool) -> None:
    """List an author's sources with the outcome of their last crawl."""
    opened = stores()
    crawls = opened.warehouse.crawls(author_id)
    rows = [
        source.model_dump() | {"last_crawl": crawls.get(source.id)}
        for source in opened.warehouse.profile(author_id).sources
    ]
    if as_json:
        put_all(rows)
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
@plain_errors
def source_token(author_id: str, source_id: str) -> None:
    """Print what to write into a page of the source to prove that it is the author's; it is no secret."""
    from twin_assets.operations.ownership import ownership_token
    from twin_assets.operations.sources import source_of

    profile = stores().warehouse.profile(author_id)
    click.echo(ownership_token(profile, source_of(profile, source_id)))
    say(f"write it anywhere into the page's text, such as the bio; then: twin source prove {author_id} {source_id}")


@source.command("prove")
@click.argument("author_id", metavar="ID")
@click.argument("source_id", metavar="SOURCE")
@click.argument("url", required=False)
@plain_errors
def source_prove(author_id: str, source_id: str, url: str | None) -> None:
    """Prove that a source is the author's: by the token on its page, or by rel="me" links with a proven source's page.

    URL is the page to look at, one of the source's own; default: the source's URL.
    """
    from twin_assets.operations.ownership import prove_source

    proven = prove_source(stores(), author_id, source_id, url)
    if proven.proof:
        say(f"{source_id} is proven by {proven.proof.url}")


@source.command("remove")
@click.argument("author_id", metavar="ID")
@click.argument("source_id", metavar="SOURCE")
@plain_errors
def source_remove(author_id: str, source_id: str) -> None:
    """Remove a source; its documents stay."""
    from twin_assets.operations.sources import remove_source

    remove_source(stores(), author_id, source_id)
    say(f"removed {source_id}; its documents stay in the warehouse")


@main.group()
def key() -> None:
    """API keys: needed as soon as the server listens beyond this machine."""


@key.command("add")
@click.argument("author_id", metavar="ID")
@click.option("--label", default="key", show_default=True, help="What the key is for.")
@plain_errors
def key_add(author_id: str, label: str) -> None:
    """Make a key for an author and print it once; only its hash is kept."""
    from twin_assets.documents import ApiKey
    from twin_assets.serving.access import new_key

    token, sha256 = new_key()
    made = ApiKey(label=label, sha256=sha256)
    stores().warehouse.change_profile(author_id, lambda profile: profile.api_keys.append(made))
    say(f"this key opens {author_id} and nobody else, and is not shown again:")
    click.echo(token)


@key.command("list")
@click.argument("author_id", metavar="ID")
@as_json
@plain_errors
def key_list(author_id: str, as_json: bool) -> None:
    """List an author's keys by label and age; the keys themselves are not kept."""
    keys = stores().warehouse.profile(author_id).api_keys
    if as_json:
        put_all({"label": one.label, "created_at": one.created_at} for one in keys)
        return
    for one in keys:
        click.echo(f"{one.label:<24} made {one.created_at:%Y-%m-%d %H:%M}")


@key.command("remove")
@click.argument("author_id", metavar="ID")
@click.argument("label")
@plain_errors
def key_remove(author_id: str, label: str) -> None:
    """Remove an author's keys with this label; whoever uses one is locked out at once."""

    def remove(profile: "AuthorProfile") -> None:
        kept = [one for one in profile.api_keys if one.label != label]
        if len(kept) == len(profile.api_keys):
            known = ", ".join(sorted({one.label for one in kept})) or "none"
            raise BadInput(f"{author_id} has no key labelled {label!r} (labels: {known})")
        profile.api_keys = kept

    stores().warehouse.change_profile(author_id, remove)
    say(f"removed {label}: what used it is locked out")


@main.command()
@click.argument("author_id", metavar="ID")
@click.option("--platform", help="Only this platform.")
@as_json
@plain_errors
def collect(author_id: str, platform: str | None, as_json: bool) -> None:
    """Collect only: ask every source for what is new."""
    from twin_assets.operations import runs

    opened = stores()
    with runs.dagster_instance() as instance:
        runs.register(instance, opened)
        finish(runs.collect(instance, opened, author_id, tell_outcome, platform), as_json)


@main.command()
@click.argument("author_id", metavar="ID")
@click.option("--recipe", "recipes", multiple=True, help="Train this recipe; default: those the author subscribes to.")
@click.option(
    "--until", default="evaluation_report", show_default=True, help="Stop after this asset; `raw` only collects."
)
@as_json
@plain_errors
def run(author_id: str, recipes: tuple[str, ...], until: str, as_json: bool) -> None:
    """Run the graph up to an asset: only what is out of date; prints what ran and what was skipped."""
    from twin_assets.operations import runs

    opened = stores()
    chosen = recipes or tuple(choice.name for choice in opened.warehouse.profile(author_id).recipes)
    with runs.dagster_instance() as instance:
        finish(runs.run_graph(instance, opened, author_id, chosen, until, tell_outcome), as_json)


@main.command()
@click.argument("author_id", metavar="ID")
@as_json
@plain_errors
def status(author_id: str, as_json: bool) -> None:
    """Documents, chunks, examples by split, dataset version, models with stage and metrics."""
    from twin_assets.operations.status import author_status, status_text

    found = author_status(stores(), author_id)
    put(found) if as_json else click.echo(status_text(found))


@main.command()
@click.argument("author_id", metavar="ID")
@click.option("--platform", help="Only this platform.")
@click.option("--cleaned", is_flag=True, help="The cleaned documents instead of the raw ones.")
@as_json
@plain_errors
def documents(author_id: str, platform: str | None, cleaned: bool, as_json: bool) -> None:
    """List an author's documents; tombstones are marked."""
    from twin_assets.operations.status import document_rows

    for row in document_rows(stores(), author_id, platform, cleaned):
        if as_json:
            put(row)
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
    help="Answers that a model learns, passages that drafts draw on, or both.",
)
@click.option("--take-back", is_flag=True, help="Let it be used again.")
@plain_errors
def document_leave_out(
    author_id: str, document_id: str, use: Literal["training", "quoting", "both"], take_back: bool
) -> None:
    """Keep a document out of training, quoting or both. DOCUMENT_ID is as `twin documents` shows it."""
    from twin_assets.operations.runs import daemon_runs, dagster_instance
    from twin_assets.operations.usage import document_of, exclude

    uses: list[Use] = ["training", "quoting"] if use == "both" else [use]
    opened = stores()
    with dagster_instance() as instance:
        before = set(document_of(opened, author_id, document_id).left_out)
        left_out = sorted(before.difference(uses) if take_back else before.union(uses))
        changed = exclude(instance, opened, author_id, document_id, left_out)
        followed = daemon_runs(instance)
    if not changed:
        say(f"{document_id} is so already: nothing changed")
        return
    said = f"left out of {' and '.join(left_out)}" if left_out else "used again for training and quoting"
    how = "the daemon starts it now" if followed else f"start it: twin run {author_id} --until instruction_dataset"
    say(f"{document_id} will be {said} after the next features run; {how}")
    if not take_back and use != "quoting":
        say("a model that was trained before keeps what it learned from it until you train again")


@main.command()
@click.argument("author_id", metavar="ID")
@click.argument("query")
@click.option("-k", "k", default=10, show_default=True, help="How many hits.")
@click.option("--category", type=click.Choice(["article", "post", "code"]))
@as_json
@plain_errors
def search(author_id: str, query: str, k: int, category: str | None, as_json: bool) -> None:
    """Search an author's own writing, by meaning and by words."""
    from twin_assets.language.embedding import load_embedder
    from twin_assets.language.search import load_reranker
    from twin_assets.language.search import search as find

    opened = stores()
    opened.warehouse.profile(author_id)
    table = opened.features.table(author_id, "embeddings")
    table.pinned  # noqa: B018  raises when there is nothing to search
    embedder, reranker = load_embedder(opened.settings), load_reranker(opened.settings)
    for hit in find(table, embedder, query, k, category=category, reranker=reranker):
        if as_json:
            put({name: getattr(hit, name) for name in ("document_id", "title", "url", "text", "score")})
        else:
            click.echo(f"{hit.score:.4f}  {hit.title}  {hit.url}\n        {' '.join(hit.text.split())[:160]}")


@main.group()
def dataset() -> None:
    """The instruction dataset."""


@dataset.command("export")
@click.argument("author_id", metavar="ID")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR")
@click.option("--version", help="A dataset version; default: the latest.")
@plain_errors
def dataset_export(author_id: str, folder: Path, version: str | None) -> None:
    """Write a dataset version to DIR: a Hugging Face `datasets` folder, JSONL per split, and its card, README.md."""
    from twin_assets.operations.status import export_dataset

    for path, rows in export_dataset(stores(), author_id, folder, version).items():
        say(f"{path}: {rows} examples")


@main.command()
@click.argument("author_id", metavar="ID")
@as_json
@plain_errors
def models(author_id: str, as_json: bool) -> None:
    """List an author's model versions with stage, bits per byte and gates."""
    from twin_assets.operations.status import model_row, models_text

    opened = stores()
    opened.warehouse.profile(author_id)
    rows = [model_row(manifest) for manifest in opened.models.versions(author_id)]
    put_all(rows) if as_json else click.echo(models_text(rows))


def _promote(author_id: str, version: str, reason: str) -> None:
    from twin_assets.operations import runs

    opened = stores()
    opened.models.version(author_id, version)
    with runs.dagster_instance() as instance:
        runs.register(instance, opened)
        finish([runs.promote(instance, author_id, version, getpass.getuser(), reason)], as_json=False)
    say(f"{author_id}@{version} is in production")


def _promotion(name: str, text: str) -> None:
    """A command that puts a version into production."""

    @main.command(name, help=text)
    @click.argument("author_id", metavar="ID")
    @click.argument("version")
    @reason_option
    @plain_errors
    def promotion(author_id: str, version: str, reason: str) -> None:
        _promote(author_id, version, reason)


_promotion("approve", "Put a version into production.")
_promotion("rollback", "Put an earlier version back into production.")


@main.command()
@click.argument("author_id", metavar="ID")
@click.argument("version")
@reason_option
@plain_errors
def reject(author_id: str, version: str, reason: str) -> None:
    """Mark a version so that it is never promoted."""
    stores().models.reject(author_id, version, getpass.getuser(), reason)
    say(f"{author_id}@{version} is rejected")


@main.command()
@click.argument("author_id", metavar="ID")
@click.argument("prompt")
@click.option("--link", "links", multiple=True, metavar="URL", help="A page to draw on; may be repeated.")
@click.option("--format", "fmt", type=click.Choice(["article", "post", "code"]), help="What to write.")
@click.option("--model", "version", help="A version, or `untrained`; default: production, else the untrained base.")
@as_json
@plain_errors
def draft(
    author_id: str, prompt: str, links: tuple[str, ...], fmt: str | None, version: str | None, as_json: bool
) -> None:
    """Draft in the author's voice, grounded in what they have written."""
    from twin_assets.cli.draft_output import print_draft
    from twin_assets.documents import Category

    category = Category(fmt) if fmt else None
    print_draft(stores(), author_id, prompt, category=category, version=version, links=links, as_json=as_json)


@main.command()
@click.option("--host", help="Address to listen on; beyond this machine API keys are required.")
@click.option("--port", type=int)
@plain_errors
def serve(host: str | None, port: int | None) -> None:
    """Serve the REST API and the app."""
    from twin_assets.operations import runs
    from twin_assets.operations.collector import Collector
    from twin_assets.serving.server import serve as run_server

    opened = stores()

    def promote(author_id: str, version: str, who: str, reason: str) -> None:
        with runs.dagster_instance() as instance:
            runs.register(instance, opened)
            outcome = runs.promote(instance, author_id, version, who, reason)
        if outcome.status == "failed":
            raise TwinError(outcome.text)

    settings = opened.settings
    run_server(opened, host or settings.api_host, port or settings.api_port, promote, Collector(opened))


@main.command()
@click.option("--author", "author_id", default="wren", show_default=True, help="Author id.")
@click.option("--source", "sources", default="", help="Feeds, sites, folders or zips; default: the sample.")
@click.option("--recipe", help="How the model is trained; default: the small real model that lies on this machine.")
@click.option("--serve/--no-serve", "with_servers", default=True, help="Serve the Dagster UI and the app afterwards.")
@plain_errors
def demo(author_id: str, sources: str, recipe: str | None, with_servers: bool) -> None:
    """Take an author through the whole graph; what `make demo` calls."""
    from twin_assets.cli.demo import run_demo
    from twin_assets.documents import DEFAULT_RECIPE

    run_demo(stores(), author_id, shlex.split(sources), recipe or DEFAULT_RECIPE, with_servers)


if __name__ == "__main__":
    main()
