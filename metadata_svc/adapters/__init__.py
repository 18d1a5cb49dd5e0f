"""Everything that reaches out of the process: PostgreSQL, Secrets Manager, SQS, SNS, API Gateway."""
