"""Feature pipeline: raw documents cleaned, cut, embedded, and made into an instruction dataset."""
