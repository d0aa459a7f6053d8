"""The process that has a recipe's base model on this machine: it downloads or makes what is not there.

    python -m twin_assets.training.process.fetch_base        started by the asset `adapter` through Dagster Pipes

A version is named after the base's revision, so it has to be known before the training begins.
"""

from twin_assets.language.base_models import BaseSpec, resolve_base
from twin_assets.orchestration.subprocesses import pipes_child
from twin_assets.stores import open_stores


def main() -> None:
    """Read which base model from Dagster Pipes, and have it here; the run's log says how far it is."""
    with pipes_child() as pipes:
        spec = BaseSpec.model_validate(pipes.extras["base"])
        base = resolve_base(spec, open_stores().settings, pipes.log.info)
        pipes.log.info(f"base model {base.name}, revision {base.revision[:12]}")


if __name__ == "__main__":
    main()
