"""The command `twin`: the operations for a terminal, and the demo."""
