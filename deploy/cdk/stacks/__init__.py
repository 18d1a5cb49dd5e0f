"""The stacks: which units are deployed together."""
