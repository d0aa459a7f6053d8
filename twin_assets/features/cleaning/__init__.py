"""Raw documents to clean text, by category: what a reader would call the author's words and nothing else."""

from twin_assets.features.cleaning.document import CLEANING_VERSION, clean, cleaned_row
from twin_assets.features.cleaning.quotes import own_lines

__all__ = ["CLEANING_VERSION", "clean", "cleaned_row", "own_lines"]
