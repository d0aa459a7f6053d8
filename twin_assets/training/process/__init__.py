"""The code of the training process, which Dagster Pipes starts."""
