"""Storage: the warehouse, the feature store and the model registry."""

from dataclasses import dataclass
from functools import cache, cached_property

from twin_assets.settings import Settings
from twin_assets.stores.features import FeatureStore
from twin_assets.stores.models import ModelRegistry
from twin_assets.stores.warehouse import Warehouse


@dataclass(frozen=True)
class Stores:
    """The three stores, opened on first use from one set of settings."""

    settings: Settings

    @cached_property
    def warehouse(self) -> Warehouse:
        """The warehouse, with raw documents, profiles, manifests and interactions."""
        return Warehouse.open(self.settings)

    @cached_property
    def features(self) -> FeatureStore:
        """The feature store, with one LanceDB database per author."""
        return FeatureStore(self.settings.features_root, self.settings.data_dir / "locks")

    @cached_property
    def models(self) -> ModelRegistry:
        """The model registry, with weights on a file system and manifests in the warehouse."""
        return ModelRegistry(self.settings.models_root, self.warehouse)


@cache
def open_stores() -> Stores:
    """The stores that the environment of this process names. Settings are read once."""
    return Stores(Settings())
