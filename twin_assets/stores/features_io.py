"""The I/O manager between assets and the feature store.

Inputs arrive as read-only handles that pin a version on first use. Outputs are `Changes` or a `Snapshot`.
"""

import dagster as dg

from twin_assets.schemas import Schema
from twin_assets.stores import open_stores
from twin_assets.stores.features import Changes, Snapshot, TableHandle


class FeaturesIOManager(dg.ConfigurableIOManager):
    """Loads and stores feature tables, named after their asset, and after the recipe where an asset has one."""

    def load_input(self, context: dg.InputContext) -> TableHandle:
        """A handle on the input's table, which reads nothing yet."""
        author, name = _table(context)
        return open_stores().features.table(author, name)

    def handle_output(self, context: dg.OutputContext, obj: Changes | Snapshot) -> None:
        """Commit the output, and put the version written into the materialization's metadata."""
        author, name = _table(context)
        stores = open_stores()
        features = stores.features
        if isinstance(obj, Snapshot):
            publication = features.commit_snapshot(author, name, obj)
            deleted = features.delete_old_snapshots(author, name, stores.models.dataset_tables(author))
            context.add_output_metadata({"old_tables_deleted": len(deleted)})
        else:
            publication = features.commit(author, name, obj)
        context.add_output_metadata(
            {
                "table": publication.table,
                "table_version": publication.version,
                "rows": publication.rows,
                "made_from": dg.MetadataValue.json(publication.inputs),
                "uri": f"{features.root}/{author}/{publication.table}.lance",
            }
        )


def column_schema(schema: Schema) -> dg.TableSchema:
    """A table's schema in the form that Dagster shows."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(one.name, one.type, constraints=dg.TableColumnConstraints(nullable=one.nullable))
            for one in schema.columns
        ]
    )


def _table(context: dg.InputContext | dg.OutputContext) -> tuple[str, str]:
    key = context.asset_partition_key if isinstance(context, dg.InputContext) else context.partition_key
    name = context.asset_key.path[-1]
    if isinstance(key, dg.MultiPartitionKey):
        return key.keys_by_dimension["author"], f"{name}-{key.keys_by_dimension['recipe']}"
    return key, name
