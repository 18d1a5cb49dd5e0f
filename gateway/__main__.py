import runtime.grpc_core  # noqa: F401  # before anything loads gRPC
from gateway.app import main

main()
