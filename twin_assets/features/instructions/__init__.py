"""Everything that makes the instruction dataset, and nothing that another asset needs."""
