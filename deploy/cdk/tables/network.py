"""`[network]`: zones, addresses, and how tasks without a public address reach AWS and the internet."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from deploy.cdk.tables.base import RETENTIONS, RetentionDays, Table, wrong

# RFC 1918: what a VPC may have that is no loopback, no link-local and nobody else's.
_PRIVATE: Final = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
Zone = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-\d[a-z]$")]


class Network(Table):
    """The VPC of an environment."""

    cidr: str = Field(
        description="a private IPv4 range of /16 to /20 that overlaps with no network it shall ever be joined to",
        examples=["10.40.0.0/16"],
    )
    zones: tuple[Zone, ...] = Field(
        min_length=3,
        max_length=3,
        description="three availability zones of the region that API Gateway's VPC links know (in Seoul those with the "
        "ids apne2-az1 to apne2-az3: `aws ec2 describe-availability-zones` says how your account calls them); in a "
        "variable separated by commas",
        examples=["ap-northeast-2a,ap-northeast-2b,ap-northeast-2c"],
    )
    interface_endpoints: bool = Field(
        description="true or false: whether AWS's APIs are reached inside the VPC. True costs by endpoint, zone and "
        "hour (0.013 USD in Seoul: about 10 USD a month each) and keeps credentials and messages off the internet; "
        "false leads them through NAT, which must then be there",
        examples=["true"],
    )
    endpoint_zones: int = Field(
        ge=1,
        le=3,
        description="1 to 3: zones in which each interface endpoint has an address; 3 outlives the loss of any zone, "
        "1 costs a third and sends two thirds of the calls across zones (0.01 USD/GB each way)",
        examples=["3"],
    )
    nat_gateways: int = Field(
        ge=0,
        le=3,
        description="0 to 3: NAT gateways, each in a zone of its own (0.059 USD/h and 0.059 USD/GB in Seoul). "
        "Webhooks and an identity provider's keys are on the internet: without NAT neither works. 3 outlives the "
        "loss of any zone; 1 costs a third; 3 or 0 in prod",
        examples=["3"],
    )
    flow_log_traffic: Literal["ALL", "REJECT"] = Field(
        description="ALL or REJECT: whether flow logs hold every connection or those that were refused; ALL answers "
        "more questions after an incident and costs 0.76 USD/GB (Seoul), about 0.2 GB a million connections",
        examples=["ALL"],
    )
    flow_log_days: RetentionDays = Field(description=f"days that flow logs are kept: {RETENTIONS}", examples=["90"])

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        try:
            network = ipaddress.IPv4Network(self.cidr)
        except ValueError as error:
            raise wrong("cidr", str(error)) from None
        if not any(network.subnet_of(private) for private in _PRIVATE) or not 16 <= network.prefixlen <= 20:
            raise wrong("cidr", f"{self.cidr} is not private, or not of /16 to /20")
        if len(set(self.zones)) != len(self.zones):
            raise wrong("zones", "a zone is named twice")
        if not self.interface_endpoints and self.nat_gateways == 0:
            raise wrong("nat_gateways", "with neither endpoints nor NAT no task reaches AWS")
        return self
