"""What metadata_svc decides, without any I/O: images and their life, keys of objects, events, page tokens."""
