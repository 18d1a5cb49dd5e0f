"""The services behind, over gRPC."""
