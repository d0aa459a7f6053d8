"""The process that gets a recipe's base model onto this machine, by downloading or making it.

    python -m twin_assets.training.process.fetch_base        started by the asset `adapter` through Dagster Pipes

A version's name depends on the base model's revision, which therefore has to be known before training starts.
"""

from twin_assets.language.base_models import BaseSpec, resolve_base
from twin_assets.orchestration.subprocesses import pipes_child
from twin_assets.stores import open_stores


def main() -> None:
    """Read the base model's spec from Dagster Pipes, and get the model; progress goes to the run's log."""
    with pipes_child() as pipes:
        spec = BaseSpec.model_validate(pipes.extras["base"])
        base = resolve_base(spec, open_stores().settings, pipes.log.info)
        pipes.log.info(f"base model {base.name}, revision {base.revision[:12]}")


if __name__ == "__main__":
    main()
