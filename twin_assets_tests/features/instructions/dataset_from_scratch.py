"""Make an author's dataset from documents in a file, in a process of its own: prints a digest of the table's bytes.

python dataset_from_scratch.py DOCUMENTS.json DATA_DIR
"""

import hashlib
import json
import sys
from pathlib import Path

import pyarrow as pa

from twin_assets.content.chunking import Chunker, Tokens
from twin_assets.documents import AuthorProfile, Consent, RawDocument
from twin_assets.features import changes
from twin_assets.features.instructions.dataset import build, dataset_rows
from twin_assets.language.embedding import load_embedder
from twin_assets.settings import Settings
from twin_assets.stores import Stores


def main() -> None:
    documents, data = Path(sys.argv[1]), Path(sys.argv[2])
    settings = Settings(_env_file=None, data_dir=data)
    stores = Stores(settings)
    profile = AuthorProfile(id="ada", name="Ada", consent=Consent(who="Ada"))
    stores.warehouse.profiles.add(profile)
    stores.warehouse.documents.upsert([RawDocument.model_validate(row) for row in json.loads(documents.read_text())])
    embedder, table = load_embedder(settings), stores.features.table
    cleaned = changes.cleaning_changes(stores.warehouse, profile, table("ada", "cleaned_documents"), print)
    stores.features.commit("ada", "cleaned_documents", cleaned.changes)
    chunker = Chunker(Tokens(embedder.tokenizer), settings.chunk_tokens)
    made_by = changes.made_by_chunking(settings)
    cut = changes.chunking_changes(table("ada", "cleaned_documents"), table("ada", "chunks"), chunker, made_by)
    stores.features.commit("ada", "chunks", cut.changes)
    made_by = changes.made_by_embedding(settings)
    embedded = changes.embedding_changes(table("ada", "chunks"), table("ada", "embeddings"), embedder, made_by, print)
    stores.features.commit("ada", "embeddings", embedded.changes)
    rows = dataset_rows(build(table("ada", "cleaned_documents"), table("ada", "embeddings"), embedder, settings, print))
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_stream(buffer, rows.schema) as stream:
        stream.write_table(rows)
    print("rows", rows.num_rows, hashlib.sha256(buffer.getvalue()).hexdigest())


if __name__ == "__main__":
    main()
