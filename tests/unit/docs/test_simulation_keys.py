"""The page says what each key of a simulation.yaml means, and no key that there is not."""

from __future__ import annotations

import re

from tests.pages.blocks import ROOT

from trimtab.simulation.scenario import Act, Answers, Expected, Part, Scenario, Training, Users

PARTS: tuple[type[Part], ...] = (Scenario, Users, Training, Act, Expected, Answers)


def keys_of(part: type[Part]) -> set[str]:
    return {str(field.alias or name) for name, field in part.model_fields.items()}


def test_every_key_is_on_the_page_and_no_other() -> None:
    page = (ROOT / "docs" / "index.md").read_text()
    section = page.partition("### simulation.yaml\n")[2].partition("\n## ")[0]
    first = " ".join(re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE))
    named = set(re.findall("[a-z]+", " ".join(re.findall(r"`([^`]*)`", first))))
    assert named == {key for part in PARTS for key in keys_of(part)}
