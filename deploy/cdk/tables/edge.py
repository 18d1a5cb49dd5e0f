"""`[edge]`: the API's name, what stands in front of it, and what is noted of its requests."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from deploy.cdk.tables.base import RETENTIONS, RetentionDays, Table, wrong


class Edge(Table):
    """The REST API on AWS, beyond what the emulator's has."""

    domain: str = Field(
        pattern=r"^([a-z0-9-]+(\.[a-z0-9-]+)+)?$",
        description="the API's own name; then API Gateway's name for it is switched off, and a DNS entry of yours "
        "leads to the output DomainTarget; empty for API Gateway's name",
        examples=["api.example.com"],
    )
    certificate_arn: str = Field(
        pattern=r"^(arn:aws:acm:[a-z0-9-]+:\d{12}:certificate/[0-9a-f-]+)?$",
        description="ARN of an ACM certificate for that name, of the same account and region; empty without a name",
        examples=["arn:aws:acm:ap-northeast-2:123456789012:certificate/0a1b2c3d-0000-4000-8000-000000000000"],
    )
    tls_policy: Literal["TLS_1_2", "SecurityPolicy_TLS13_1_2_2021_06", "SecurityPolicy_TLS13_1_3_2025_09"] = Field(
        description="TLS_1_2 (1.2 alone), SecurityPolicy_TLS13_1_2_2021_06 (1.2 and 1.3) or "
        "SecurityPolicy_TLS13_1_3_2025_09 (1.3 alone)",
        examples=["SecurityPolicy_TLS13_1_2_2021_06"],
    )
    firewall: bool = Field(
        description="true or false: whether WAF looks at requests first (about 10 USD a month and 0.60 USD a million "
        "requests); true in staging and prod",
        examples=["true"],
    )
    requests_per_address: int = Field(
        ge=100,
        le=2_000_000_000,
        description="requests, 100 to 2000000000, of one address within five minutes before WAF refuses more; a whole "
        "office may be behind one address",
        examples=["60000"],
    )
    log_days: RetentionDays = Field(
        description=f"days that the access log and the firewall's log are kept: {RETENTIONS}", examples=["90"]
    )
    account_log_role: bool = Field(
        description="true or false: whether this environment sets the role by which API Gateway writes logs. There is "
        "one for the whole account and region: true in one environment of each account",
        examples=["true"],
    )
    tracing: bool = Field(
        description="true or false: whether API Gateway sends X-Ray a segment of sampled requests (5 USD a million)",
        examples=["false"],
    )

    @model_validator(mode="after")
    def _together(self) -> Self:
        if bool(self.domain) != bool(self.certificate_arn):
            raise wrong("certificate_arn", "a domain and its certificate are set together, or neither is")
        return self
