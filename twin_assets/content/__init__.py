"""Text in, and cut: the guarded web client, extraction, chunking."""
