"""Image processing: takes uploaded originals off the queue and makes their variants, each in a sandboxed process."""
