"""The web page: layout, what its buttons do, its HTML and its login."""
