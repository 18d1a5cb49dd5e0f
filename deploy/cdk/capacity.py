"""The capacity plan of an environment, checked against its settings."""

from __future__ import annotations

from deploy.capacity import inputs, planner
from deploy.capacity.plan import Plan
from deploy.capacity.sizing import AURORA, SERVICES
from deploy.cdk import settings


def plan_of(env: settings.AwsEnvironment) -> Plan | None:
    """The plan as of the environment's moment; None where month-end is not planned for.

    Raises `EnvironmentError` where no plan can be made, and where a setting has no room for it.
    """
    if not env.capacity.month_end:
        return None
    try:
        plan = planner.build(inputs.load(), env.capacity.plan_as_of)
    except (inputs.InputError, planner.PlanError) as error:
        raise settings.EnvironmentError(f"the capacity plan (deploy/capacity/data): {error}") from None
    for service in SERVICES:
        planned, most = plan.service(service), getattr(env, service).max_tasks
        if planned.peak > most:
            raise settings.EnvironmentError(_low(f"{service}.max_tasks", most, planned.peak, planned.maximum, "tasks"))
    planned, acus = plan.service(AURORA), env.database.max_acu
    if planned.peak > acus:
        raise settings.EnvironmentError(_low("database.max_acu", acus, planned.peak, planned.maximum, "ACU"))
    return plan


def _low(name: str, most: float, peak: float, wanted: float, unit: str) -> str:
    variable = f"{settings.VARIABLE_PREFIX}{name.upper().replace('.', '__')}"
    return (
        f"{name}: {most:g} is below what the capacity plan asks for at its peak, {peak:g} {unit}; allowed: {peak:g} or "
        f"more, and {wanted:g} leaves room for what nobody forecast; e.g. {variable}={wanted:g}"
    )
