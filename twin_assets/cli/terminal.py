"""Messages for a person at a terminal, on stderr: stdout is for results. Imports nothing slow."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from twin_assets.operations.runs import Outcome

COLOURS = {"ran": "green", "skipped": "bright_black", "failed": "red"}


def say(text: str) -> None:
    """Print a message on stderr."""
    click.echo(text, err=True)


def tell_outcome(outcome: "Outcome") -> None:
    """Print one line on what became of a part of the graph."""
    text = f" ({outcome.text})" if outcome.text else ""
    took = f" in {outcome.seconds:.1f} s" if outcome.status != "skipped" else ""
    say(click.style(f"{outcome.status:>8}", fg=COLOURS[outcome.status]) + f"  {outcome.part}{took}{text}")
