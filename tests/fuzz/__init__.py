"""Long trials with files that no one wrote, each a command of the Makefile."""
