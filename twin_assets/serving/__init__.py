"""Serving: drafts grounded in the author's writing, over an OpenAI-shaped API and in an app, in one process."""
