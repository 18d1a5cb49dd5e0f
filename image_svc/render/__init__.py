"""Variants made when somebody asks for them: `turns.py` says whose turn it is, `renderer.py` makes them."""
