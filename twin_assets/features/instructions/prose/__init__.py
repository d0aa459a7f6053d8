"""What is read from prose to write a request for it."""
