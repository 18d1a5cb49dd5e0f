"""What the worker decides, without any I/O: what a message means, what a verdict says, how long to wait."""
