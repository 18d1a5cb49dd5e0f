"""Target tracking on backlog per task, as Application Auto Scaling and CloudWatch do it together. Pure.

CloudWatch keeps two alarms on the metric: above the target for 3 data points of a minute scales out at once in
proportion; below 90 % of it for 15 data points scales in "gradually". While the cool-down of a scale-out runs, what
it has added counts as present, so that the same backlog does not add tasks twice. Source: Application Auto Scaling
User Guide, "Target tracking scaling policies" and "Define a cooldown period"; the alarms' numbers of data points are
those that the service sets up for metrics of one minute. How gradually it scales in is not documented: a setting.
"""

from __future__ import annotations

from math import ceil

from deploy.capacity.inputs import Tracking


class TargetTracking:
    """Remembers recent data points and cool-downs; `decide` gives the desired number of tasks."""

    def __init__(self, settings: Tracking) -> None:
        self._settings = settings
        self._above = 0
        self._below = 0
        self._out_until = float("-inf")
        self._in_until = float("-inf")
        self._base = 0  # tasks desired when the present scale-out began

    def decide(self, now: float, metric: float, desired: int) -> int:
        """The number of tasks wanted after one more data point; not yet bounded by minimum and maximum."""
        settings = self._settings
        target = settings.target_backlog_per_task
        self._above = self._above + 1 if metric > target else 0
        self._below = self._below + 1 if metric < target * settings.in_threshold else 0
        if self._above >= settings.out_datapoints:
            if now >= self._out_until:
                self._base = desired
            wanted = max(desired, ceil(self._base * metric / target))
            if wanted > desired:
                self._out_until = now + settings.out_cooldown_seconds
            return wanted
        if self._below >= settings.in_datapoints and now >= max(self._in_until, self._out_until):
            self._in_until = now + settings.in_cooldown_seconds
            return max(ceil(desired * metric / target), desired - max(1, int(desired * settings.in_step_share)))
        return desired


class LaunchRate:
    """Fargate's launch rate as a token bucket: a burst at once, then so many per second."""

    def __init__(self, burst: int, rate: float) -> None:
        self._burst = float(burst)
        self._rate = rate
        self._tokens = float(burst)
        self._at = 0.0

    def launch(self, now: float) -> float:
        """Takes one launch asked for at `now` and returns when it happens. Calls come in order of time."""
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        self._tokens -= 1
        return now if self._tokens >= 0 else now - self._tokens / self._rate
