"""What runs in the training process, which Dagster Pipes starts."""
