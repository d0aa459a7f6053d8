"""Everything that uses a model: embedding, search, prompts and generation."""
