"""What every pipeline uses of Dagster: partitions, the run launcher, child processes, the display of runs."""
