"""The training pipeline: it turns a dataset version and a recipe into an adapter in the registry."""
