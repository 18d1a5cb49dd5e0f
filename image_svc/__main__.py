import runtime.grpc_core  # noqa: F401  # before anything loads gRPC
from image_svc.app import main

main()
