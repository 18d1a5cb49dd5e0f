"""Fixtures that every kind of test may use; the servers behind them start with the first test that asks."""

pytest_plugins = ["tests.support.cluster", "tests.support.localstack", "tests.support.postgres"]
