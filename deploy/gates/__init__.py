"""The gates that the stacks pass before anyone deploys them: cfn-lint, cdk-nag AwsSolutions, checkov. `make gates`."""
