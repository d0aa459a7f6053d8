"""What is read from source code to write a request for it."""
