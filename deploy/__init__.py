"""How Darkroom is set up and run: the local cluster, the CDK app, the demo. Nothing here is imported by a service."""
