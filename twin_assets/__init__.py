"""An LLM Twin as a Dagster asset graph: one person's writing in, drafts in their voice out."""
