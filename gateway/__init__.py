"""The HTTP side of Darkroom: keys, limits, validation and problem+json in front of the gRPC services.

It holds no state that matters, sees no byte of a file, and speaks to nothing but metadata_svc and presign_svc.
"""
