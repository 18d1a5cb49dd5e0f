"""The container images: one Dockerfile, what assembles their file systems, and the commands `make images` runs."""
