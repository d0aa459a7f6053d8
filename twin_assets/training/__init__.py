"""Training pipeline: a dataset version and a recipe in, an adapter in the registry out."""
