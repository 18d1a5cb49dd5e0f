"""The page of settings is what the services and the stacks say."""

from __future__ import annotations

from deploy import settings
from deploy.cdk import parameters


def test_the_page_is_what_make_settings_writes() -> None:
    assert settings.DOCUMENT.read_text(encoding="utf-8") == settings.rendered()


def test_every_deployed_parameter_stands_at_the_setting_that_reads_it() -> None:
    page = settings.rendered()
    for entry in parameters.EDGE:
        assert f"| `/darkroom/<stage>/{entry.folder}/{entry.name}` |" in page
    for entry in (*parameters.CORE, *parameters.CORE_AWS, *parameters.DATABASE):
        for reader in entry.readers:
            assert f"| `{reader.upper()}_{entry.name.upper()}` |" in page, entry
    assert page.count("| *deployed*: ") == sum(
        len(entry.readers) for entry in (*parameters.CORE, *parameters.CORE_AWS, *parameters.DATABASE)
    )


def test_every_setting_says_what_it_is() -> None:
    assert "|  |\n" not in settings.rendered()
