"""What a person does, by terminal, app or API: start runs, collect, say what is used, erase, ask how things stand."""
