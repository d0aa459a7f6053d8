"""What is read out of source code to ask for it."""
