"""Turn raw documents into clean text, by category: the author's words as a reader sees them, and nothing else."""

from twin_assets.features.cleaning.document import CLEANING_VERSION, clean, cleaned_row
from twin_assets.features.cleaning.quotes import own_lines

__all__ = ["CLEANING_VERSION", "clean", "cleaned_row", "own_lines"]
