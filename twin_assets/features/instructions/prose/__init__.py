"""What is read out of prose to ask for it."""
