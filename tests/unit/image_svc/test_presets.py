"""What an operator is told of presets that cannot be used, and the presets that a service goes by."""

from __future__ import annotations

import contextlib
import json
import math
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_svc import develop
from image_svc.domain.model import registered_at
from image_svc.pipeline.presets import Preset, PresetError, parse_presets
from image_svc.presets import Presets, PresetsUncertain
from runtime.watched import Stored, Watched

A = '{"name":"a","width":9,"height":9,"format":"webp"'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "presets: not JSON"),
        ('"thumb"', "presets: must be a list of objects, one for each preset"),
        ("[7]", "presets: preset number 1: must be an object"),
        (f"[{A}}}, null]", "presets: preset number 2: must be an object"),
        ('[{"width":9}]', "presets: preset number 1: name is missing"),
        ('[{"name":"a","width":9,"height":9}]', "presets: preset a: format is missing"),
        ('[{"name":"a","width":"9","height":9,"format":"png"}]', "presets: preset a: width: expected `int`, got `str`"),
        (
            '[{"name":"a","width":9,"height":9,"format":"gif"}]',
            "presets: preset a: format is 'gif', not one of webp, jpeg, avif, png",
        ),
        (f'[{A},"fit":"squeeze"}}]', "presets: preset a: fit is 'squeeze', not one of inside, cover, pad"),
        (f'[{A},"hight":9}}]', "presets: preset a: there is no field 'hight'; there are name, width, height"),
        (f'[{A},"quality":0}}]', "presets: preset a: quality is 0, not 1-100"),
        (f'[{A},"background":"red"}}]', "presets: preset a: background is 'red', not #rrggbb in lower case"),
        (f'[{A},"eager":"yes"}}]', "presets: preset a: eager: expected `bool`, got `str`"),
        (f'[{A},"watermark":{{"image":"","position":"up"}}}}]', "watermark.position is 'up', not one of top-left"),
        (
            f'[{A},"watermark":{{"picture":""}}}}]',
            "there is no field 'picture' in watermark; there are image, position",
        ),
        (f"[{A}}},{A}}}]", "presets: the name 'a' is used twice"),
        ("[" + ",".join(A.replace('"a"', f'"a{n}"') + "}" for n in range(33)) + "]", "presets: there are 33, not 1-32"),
    ],
)
def test_a_mistake_is_named_with_its_preset_its_field_and_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(PresetError) as caught:
        parse_presets(text)
    assert said in str(caught.value)


EAGER, LATER = (
    Preset(name=name, width=9, height=9, format="png", eager=name == "eager") for name in ("eager", "later")
)


async def test_presets_are_found_in_the_order_of_asking_and_each_once() -> None:
    presets = Presets.fixed((EAGER, LATER))
    assert presets.eager() == [EAGER]
    assert await presets.find(["later", "eager", "later"]) == [LATER, EAGER]
    assert await presets.find(["gone", "eager"]) == [EAGER]
    assert await presets.find([]) == []


async def test_a_name_counts_as_gone_only_when_the_newest_text_is_known() -> None:
    text = "both"

    def parse(given: str) -> tuple[Preset, ...]:
        if given == "bad":
            raise ValueError(given)
        return (EAGER, LATER) if given == "both" else (EAGER,)

    async def read() -> Stored:
        return Stored(text)

    presets = Presets(Watched("presets", "one", parse, read))
    assert await presets.find(["later"]) == [LATER], "it is new: the parameter was looked at"
    text = "bad"
    assert await presets.find(["later"]) == [LATER], "what stands, stands"
    with pytest.raises(PresetsUncertain):
        await presets.find(["other"])


async def test_an_old_image_whose_preset_is_gone_costs_no_look() -> None:
    looks = 0

    async def read() -> Stored:
        nonlocal looks
        looks += 1
        return Stored("one")

    presets = Presets(Watched("presets", "one", lambda _: (EAGER,), read))
    old, new = time.time() - 60, time.time()
    assert await presets.find(["later", "eager"], asked_at=old) == [EAGER]
    assert presets.known(["later", "eager"]) == [EAGER]
    assert looks == 0, "what was read since then does not have it"
    assert await presets.find(["later", "eager"], asked_at=new) == [EAGER]
    assert looks == 1


def test_an_image_tells_by_its_id_when_it_was_registered() -> None:
    assert registered_at("0190bbbb-0000-7000-8000-000000000001") == 0x0190BBBB0000 / 1000
    assert registered_at("0190bbbb-0000-4000-8000-000000000001") == math.inf
    assert registered_at("x") == math.inf


async def test_new_presets_can_be_tried_before_they_are_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = Path(__file__).parents[3] / "deploy" / "demo" / "photos" / "Canon_EOS_7D.jpg"
    file = tmp_path / "presets.json"
    file.write_text('[{"name":"odd","width":33,"height":33,"fit":"cover","format":"png","eager":false}]')
    out = tmp_path / "out"
    arguments = [str(photo), "-o", str(out), "--preset-file", str(file)]
    assert await develop.main([*arguments, "--presets", "odd"]) == 0
    assert [path.name for path in out.iterdir()] == ["Canon_EOS_7D.odd.png"]
    file.write_text("[{}]")
    with pytest.raises(SystemExit):
        await develop.main(arguments)
    assert "preset number 1: name is missing" in capsys.readouterr().err


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(Preset.__struct_fields__), inner),
    max_leaves=20,
)
_FIELDS = st.dictionaries(st.sampled_from(Preset.__struct_fields__), _JSON)


@given(st.lists(_FIELDS, min_size=1, max_size=3) | _JSON)
def test_whatever_the_parameter_holds_it_is_used_or_refused_in_words(value: object) -> None:
    said = "presets: "
    try:
        parse_presets(json.dumps(value))
    except PresetError as error:
        said = str(error)
    assert said.startswith("presets: ")
    assert said.encode(), "it can be logged"


@given(st.text() | st.binary())
def test_what_is_no_json_is_refused_too(text: str | bytes) -> None:
    with contextlib.suppress(PresetError):
        parse_presets(text)
