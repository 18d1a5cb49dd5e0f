"""`make demo`: real photographs through the whole path, as a client sees it. Imports no service."""
