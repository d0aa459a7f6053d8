"""What every pipeline uses of Dagster: partitions, the run launcher, child processes, what a run shows."""
