"""What a person can do from the terminal, the app or the API: run, collect, exclude, erase, ask for the status."""
