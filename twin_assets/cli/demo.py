"""`make demo`: one author through the whole graph as real Dagster runs, then a draft, then the two web pages."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import dagster as dg

from twin_assets.cli.terminal import tell_outcome
from twin_assets.documents import AuthorProfile, Consent, ModelManifest, RecipeChoice
from twin_assets.errors import NotThere, TwinError
from twin_assets.operations import runs
from twin_assets.operations.sources import add_source
from twin_assets.operations.status import author_status, evaluation_text, status_text
from twin_assets.settings import project_root
from twin_assets.stores import Stores

SAMPLE = Path(__file__).parents[1] / "sample"
SAMPLE_AUTHOR = "wren"
SAMPLE_NAME = "Wren Halloway-Ostrik"
PROMPT = "Write a post about why I check a gauge by hand before I believe it"
UI_PORT = 3000


def run_demo(stores: Stores, author: str, sources: list[str], recipe: str, with_servers: bool) -> None:
    """The demo. Raises TwinError, after what could be done is done, when a part of it failed."""
    started = time.monotonic()
    _prepare(stores, author, sources, recipe)
    say_title(f"The graph for {author}: collect, clean, chunk, embed, build a dataset, train, evaluate")
    with runs.dagster_instance() as instance:
        outcomes = runs.run_graph(instance, stores, author, [recipe], runs.LAST_ASSET, tell_outcome)
        manifest = _newest(stores, author, recipe)
        if manifest is not None:
            _approve(instance, stores, manifest)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    if stores.features.published(author, "embeddings"):
        _show_results(stores, author, manifest)
        _show_draft(stores, author, manifest)
    click.echo(f"\nDone in {time.monotonic() - started:.0f} s.")
    if failed:
        raise TwinError("did not work: " + "; ".join(f"{outcome.part}: {outcome.text}" for outcome in failed))
    if recipe == "tiny-cpu":
        click.echo(
            "tiny-cpu is plumbing, not quality: its base was made on this machine from docstrings in minutes.\n"
            "A real small model:  make demo"
        )
    if with_servers:
        _serve(stores)


def say_title(text: str) -> None:
    """A line that stands out."""
    click.echo("\n" + click.style(text, bold=True))


def _prepare(stores: Stores, author: str, sources: list[str], recipe: str) -> None:
    from twin_assets.collection.locations import platform_for
    from twin_assets.training.recipe import load_recipe

    load_recipe(recipe, stores.settings, {})
    if not sources and author != SAMPLE_AUTHOR:
        raise TwinError(f'say where {author} writes: make demo AUTHOR={author} SOURCE="https://… folder archive.zip"')
    wanted = [(platform_for(where), where) for where in sources] or [("files", str(SAMPLE / SAMPLE_AUTHOR))]
    try:
        stores.warehouse.profile(author)
    except NotThere:
        name = SAMPLE_NAME if author == SAMPLE_AUTHOR else author
        consent = Consent(who=f"{name}, by running make demo")
        stores.warehouse.add_profile(AuthorProfile(id=author, name=name, consent=consent))

    def subscribe(profile: AuthorProfile) -> None:
        if recipe not in [choice.name for choice in profile.recipes]:
            profile.recipes = [*profile.recipes, RecipeChoice(name=recipe)]

    stores.warehouse.change_profile(author, subscribe)
    for platform, where in wanted:
        add_source(stores, author, platform, where)


def _newest(stores: Stores, author: str, recipe: str) -> ModelManifest | None:
    manifest = stores.models.latest(author, recipe)
    return manifest if manifest and manifest.evaluation else None


def _approve(instance: dg.DagsterInstance, stores: Stores, manifest: ModelManifest) -> None:
    """The demo approves in the author's place, and says so."""
    current = stores.models.production(manifest.author)
    if current and current.version == manifest.version:
        return
    failed = [gate.name for gate in manifest.gates if not gate.passed]
    if failed:
        click.echo(f"    not promoted: {manifest.version} failed {', '.join(failed)}; drafts come from what is there")
        return
    tell_outcome(runs.promote(instance, manifest.author, manifest.version, "make demo", "the demo approves by itself"))
    click.echo("    the demo approved this version itself; elsewhere a person does: `twin approve`")


def _show_results(stores: Stores, author: str, manifest: ModelManifest | None) -> None:
    say_title("What there is now")
    click.echo(status_text(author_status(stores, author)))
    if manifest is not None and manifest.evaluation is not None:
        say_title(f"Evaluation of {manifest.version}, on writing it never saw")
        click.echo(evaluation_text(manifest))
    say_title("Where it lies")
    settings = stores.settings
    places = {
        "warehouse": (settings.mongodb_uri and "MongoDB") or settings.warehouse_path,
        "feature store": f"{settings.features_root}/{author}",
        "model": manifest.path if manifest else "none",
        "training log": settings.data_dir / "wandb",
        "Dagster": settings.dagster_dir,
    }
    for name, place in places.items():
        click.echo(f"  {name:<14} {place}")


def _show_draft(stores: Stores, author: str, manifest: ModelManifest | None) -> None:
    """A draft by what was just trained, also when it did not pass: its warnings then say so."""
    from twin_assets.cli.draft_output import print_draft

    say_title(f"A draft: “{PROMPT}”")
    print_draft(stores, author, PROMPT, version=manifest.version if manifest else None)


def _serve(stores: Stores) -> None:
    """The Dagster UI and the app, until Ctrl-C; neither outlives the other."""
    settings = stores.settings
    say_title("Serving (Ctrl-C ends both)")
    click.echo(f"  Dagster UI  http://127.0.0.1:{UI_PORT}\n  the app     http://127.0.0.1:{settings.api_port}")
    binaries = Path(sys.executable).parent
    commands = [
        [str(binaries / "dagster"), "dev", "--port", str(UI_PORT), "--log-level", "warning"],
        [str(binaries / "twin"), "serve"],
    ]
    servers = [subprocess.Popen(command, cwd=project_root()) for command in commands]
    try:
        while all(server.poll() is None for server in servers):
            time.sleep(0.5)
    except KeyboardInterrupt:
        click.echo("\nstopping …")
    else:
        ended = next(str(server.args[0]) for server in servers if server.poll() is not None)  # type: ignore[index]
        raise TwinError(f"{Path(ended).name} ended by itself: see what it said above")
    finally:
        for server in servers:
            server.send_signal(signal.SIGINT)
        for server in servers:
            server.wait(timeout=30)
