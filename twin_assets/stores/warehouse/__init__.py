"""The warehouse: raw documents, author profiles, model manifests, interactions and what a crawl must remember."""

from twin_assets.stores.warehouse.documents import DocumentFilter, KnownDocument, ListedDocument, Warehouse

__all__ = ["DocumentFilter", "KnownDocument", "ListedDocument", "Warehouse"]
