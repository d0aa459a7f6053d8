"""Monitoring pipeline: one report per author and day."""
