"""The one Definitions object: what exists, nothing else."""

# ruff: noqa: E402  dagster is loaded and frozen first
import gc

import dagster as dg

# Dagster's many thousand objects stay for the process's life; looking through them again, twice while the rest is
# loaded, would cost 130 ms, a fifth of `import dagster`.
gc.freeze()

from twin_assets.collection import assets as collection
from twin_assets.collection import sensors as collection_sensors
from twin_assets.evaluation import assets as evaluation
from twin_assets.evaluation import sensors as evaluation_sensors
from twin_assets.features import assets as features
from twin_assets.monitoring import assets as monitoring
from twin_assets.monitoring import sensors as monitoring_sensors
from twin_assets.orchestration.console_log import progress_logger
from twin_assets.stores.features_io import FeaturesIOManager
from twin_assets.training import assets as training
from twin_assets.training import sensors as training_sensors

ASSETS = [
    *collection.assets,
    *features.assets([asset.key for asset in collection.assets]),
    *training.assets,
    *evaluation.assets,
    *monitoring.assets,
]

recipe_job = dg.define_asset_job(
    "recipe",
    selection=dg.AssetSelection.assets("preference_pairs", "adapter", "evaluation_report"),
    description="Train and evaluate one recipe for one author.",
)

automation = dg.AutomationConditionSensorDefinition(
    "automation",
    target=dg.AssetSelection.all(),
    default_status=dg.DefaultSensorStatus.RUNNING,
    # Two partitions in one tick would become a slow backfill.
    emit_backfills=False,
    minimum_interval_seconds=5,
    description="Carries every change from the warehouse to the dataset, and from an adapter to its report.",
)

defs = dg.Definitions(
    assets=ASSETS,
    jobs=[*collection.jobs, features.features_job, *training.jobs, *evaluation.jobs, *monitoring.jobs, recipe_job],
    sensors=[
        automation,
        *collection_sensors.sensors,
        *training_sensors.sensors,
        *evaluation_sensors.sensors,
    ],
    schedules=monitoring_sensors.schedules,
    resources={"features": FeaturesIOManager()},
    loggers={"console": dg.colored_console_logger, "progress": progress_logger},
)
