"""The architecture diagram: drawn from one description, true to the templates, and up to date."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from typing import Any

from PIL import Image

from deploy.diagram import png
from deploy.diagram.coverage import problems
from deploy.diagram.draw import svg
from deploy.diagram.elements import Box
from deploy.diagram.picture import PICTURE

Templates = dict[str, dict[str, Any]]


def test_every_resource_has_a_box_and_every_box_a_resource(
    prod: Templates, dev: Templates, with_kms: Templates, closed: Templates
) -> None:
    others = {
        stack: {"Resources": {k: v for made in (dev, with_kms, closed) for k, v in made[stack]["Resources"].items()}}
        for stack in prod
    }
    assert problems(PICTURE, prod, others) == []


def test_a_resource_without_a_box_and_a_box_without_a_resource_are_seen(prod: Templates) -> None:
    changed = copy.deepcopy(prod)
    changed["Core"]["Resources"]["AnotherQueue"] = {"Type": "AWS::SQS::Queue"}
    edge = changed["Edge"]["Resources"]
    (link,) = [name for name, item in edge.items() if item["Type"] == "AWS::ApiGatewayV2::VpcLink"]
    del edge[link]
    told = problems(PICTURE, changed, {})
    assert "Core: SQS::Queue AnotherQueue is in no box" in told
    assert "VPC link v2: there is no Edge/ApiGatewayV2::VpcLink" in told
    assert "KMS::Key: no template has it any more" in told  # it is in those of other settings, which were not given


def test_the_committed_picture_is_what_the_description_draws() -> None:
    text = svg(PICTURE)
    assert png.SVG.read_text() == text, "run `make diagram` and commit what it writes"
    with Image.open(png.PNG) as picture:
        assert picture.info[png.SOURCE] == png.digest(text), "run `make diagram` and commit what it writes"
        assert picture.size == tuple(round(length * png.SCALE) for length in PICTURE.size)


def test_the_picture_is_well_formed_and_tells_the_way_of_an_upload_in_order() -> None:
    root = ET.fromstring(svg(PICTURE))
    texts = ["".join(item.itertext()) for item in root.iter() if item.tag.endswith("text")]
    assert {box.title for box in PICTURE.boxes} <= set(texts)
    assert set(PICTURE.steps) <= set(texts)
    numbers = [arrow.number for arrow in PICTURE.arrows if arrow.number is not None]
    assert sorted(numbers) == list(range(1, len(PICTURE.steps) + 1))


def overlap(one: Box, two: Box) -> bool:
    return all(
        one.at[axis] < two.at[axis] + two.size[axis] and two.at[axis] < one.at[axis] + one.size[axis] for axis in (0, 1)
    )


def test_no_box_lies_on_another_and_all_lie_on_the_page() -> None:
    boxes = PICTURE.boxes
    assert not [(a.title, b.title) for i, a in enumerate(boxes) for b in boxes[i + 1 :] if overlap(a, b)]
    for box in boxes:
        assert all(box.at[axis] >= 0 and box.at[axis] + box.size[axis] <= PICTURE.size[axis] for axis in (0, 1))
