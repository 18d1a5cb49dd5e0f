"""Closed forms of queueing theory, against which the simulation is checked. Pure.

Sources: A. K. Erlang 1917 (delay formula, "Erlang C"); Pollaczek 1930 and Khinchine 1932 (mean wait of M/G/1);
textbook form as in Kleinrock, Queueing Systems, vol. 1, 1975.
"""

from __future__ import annotations

from math import exp


def erlang_c(servers: int, offered: float) -> float:
    """Probability that an arrival must wait in M/M/c; `offered` load in erlangs. Raises ValueError unless it is < c."""
    if not 0 <= offered < servers:
        raise ValueError(f"an offered load of {offered} needs more than {servers} servers")
    blocked = 1.0  # Erlang B by its recursion, which stays within range for any number of servers
    for n in range(1, servers + 1):
        blocked = offered * blocked / (n + offered * blocked)
    return blocked / (1 - offered / servers * (1 - blocked))


def mmc_mean_wait(servers: int, arrivals: float, service: float) -> float:
    """Mean wait in the queue of M/M/c, seconds; `arrivals` per second, `service` seconds on average."""
    offered = arrivals * service
    return erlang_c(servers, offered) * service / (servers - offered)


def mmc_wait_beyond(servers: int, arrivals: float, service: float, wait: float) -> float:
    """Probability that the wait in M/M/c exceeds `wait` seconds."""
    offered = arrivals * service
    return erlang_c(servers, offered) * exp(-(servers - offered) * wait / service)


def mg1_mean_wait(arrivals: float, service: float, variation: float) -> float:
    """Mean wait of M/G/1 by Pollaczek and Khinchine; `variation` is the service time's coefficient of variation.

    M/D/1 has 0, M/M/1 has 1. Raises ValueError when the load is not below 1.
    """
    load = arrivals * service
    if not 0 <= load < 1:
        raise ValueError(f"a load of {load} has no steady state")
    return load * service * (1 + variation**2) / (2 * (1 - load))
