"""S3, SQS and metadata_svc, as the ports want them."""
