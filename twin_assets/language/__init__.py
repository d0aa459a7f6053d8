"""What pipelines do with text: embed, search, render a prompt, generate."""
