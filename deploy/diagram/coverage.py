"""Holds the picture against synthesised templates. Pure.

What a box shows is written `stack/type` or `stack/type/prefix`: all resources of the type (without `AWS::`) in that
stack whose logical ids begin so; `*` is any stack.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from deploy.diagram.elements import Picture

Templates = Mapping[str, Mapping[str, Any]]

# Kinds of resources that have no box of their own in any stack, and why.
WITHIN: Final[Mapping[str, str]] = {
    "ApiGateway::BasePathMapping": "the setting edge.domain: a name of one's own for the API",
    "ApiGateway::DomainName": "the same",
    "EC2::Route": "part of a subnet",
    "EC2::RouteTable": "part of a subnet",
    "EC2::SecurityGroup": "the edge of each box in the VPC",
    "EC2::SecurityGroupEgress": "an arrow between two boxes",
    "EC2::SecurityGroupIngress": "an arrow between two boxes",
    "EC2::SubnetRouteTableAssociation": "part of a subnet",
    "IAM::Role": "what each box may do",
    "KMS::Key": "the setting encryption = kms: a key under every box that stores",
    "S3::BucketPolicy": "part of a bucket",
    "SNS::TopicPolicy": "part of a topic",
    "SQS::QueuePolicy": "part of a queue",
}


def problems(picture: Picture, drawn: Templates, others: Templates) -> list[str]:
    """What is drawn and not there (in the templates that the picture is of), and what is there and not drawn.

    `others` are further templates (of other settings): what they have in addition must be drawn too.
    """
    shown = [(frame.title, claim) for frame in picture.frames for claim in frame.shows]
    shown += [(box.title, claim) for box in picture.boxes for claim in box.shows]
    there = set(_resources(drawn))
    wrong = [
        f"{title}: there is no {claim}"
        for title, claim in shown
        if not any(_matches(claim, *resource) for resource in there)
    ]
    wrong += [f"{box.title}: stands for nothing" for box in picture.boxes if not box.shows and box.look != "outside"]
    everything = sorted(there | set(_resources(others)))
    wrong += [
        f"{stack}: {kind} {name} is in no box"
        for stack, kind, name in everything
        if kind not in WITHIN and not any(_matches(claim, stack, kind, name) for _, claim in shown)
    ]
    kinds = {kind for _, kind, _ in everything}
    wrong += [f"{kind}: no template has it any more" for kind in sorted(WITHIN.keys() - kinds)]
    return wrong


def _resources(templates: Templates) -> Iterator[tuple[str, str, str]]:
    for stack, template in templates.items():
        for name, item in template["Resources"].items():
            yield stack, str(item["Type"]).removeprefix("AWS::"), name


def _matches(claim: str, stack: str, kind: str, name: str) -> bool:
    wanted_stack, wanted_kind, *prefix = claim.split("/")
    return wanted_stack in {"*", stack} and wanted_kind == kind and name.startswith("".join(prefix))
