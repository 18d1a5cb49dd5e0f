"""The servicer: protobuf to domain and back. It decides nothing and speaks no SQL."""
