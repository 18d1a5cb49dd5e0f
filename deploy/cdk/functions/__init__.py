"""Functions that AWS runs for us: single files without dependencies, small enough to stand in a template."""
