"""`make deploy`: from an account with credentials to a running system, and from one version to the next.

Needs no CDK command line and no bootstrap of the account: templates go to CloudFormation as change sets, images to ECR,
migrations run as one-off tasks. Every step first looks at what is there, so that a roll-out that stopped goes on where
it stopped when it is started again.
"""
