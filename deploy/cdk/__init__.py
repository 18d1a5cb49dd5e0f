"""The CDK app: one construct per unit, the stacks that are made of them, and the settings of each environment.

`Core` and `Edge` are deployed to LocalStack and to AWS alike; what only AWS can take gets stacks of its own.
"""
