"""The cluster on one machine: the same processes as in production, with LocalStack and PostgreSQL behind them."""
