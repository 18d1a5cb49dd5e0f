import runtime.grpc_core  # noqa: F401  # before anything loads gRPC
from presign_svc.app import main

main()
