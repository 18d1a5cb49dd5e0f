"""Capacity planner: turns a business calendar, a forecast and measured speeds into scheduled minimum capacities,
and simulates a whole month with them, before anybody pays for it.

`planner.build` is pure: data files (`data/*.toml`) in, a `Plan` out. The CDK stacks read the plan: `Services` puts the
actions of each service on its scalable target, `Database` turns those of Aurora into EventBridge schedules.
`python -m deploy.capacity` prints the plan and compares it with reactive scaling and with capacity that is always on.
"""
