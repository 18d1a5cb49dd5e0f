import runtime.grpc_core  # noqa: F401  # before anything loads gRPC
from metadata_svc.app import main

main()
