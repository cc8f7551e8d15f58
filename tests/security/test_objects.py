"""Objects as large as the API server takes them: reading many of them costs little."""

from __future__ import annotations

import pytest
from tests.security.memory import grown

MOST_MIB = 60
PREPARED = """
import asyncio, json, sys
from trimtab.cluster.bounded import TOO_LARGE, read_answer
fill = sys.argv[1]
body = "[" + fill * (1_380_000 // len(fill)) + "1]"
head = '{"apiVersion":"trimtab.dev/v1alpha1","kind":"Deployment","metadata":{"name":"a"},'
one = head + '"spec":{"serving":{"podTemplate":{"a":' + body + '}}}}'
data = ('{"items":[' + ",".join([one] * 8) + "]}").encode()
"""
ATTACK = """
found = asyncio.run(read_answer(data))
said = {item["spec"] for item in found["items"]} == {TOO_LARGE}
"""


@pytest.mark.parametrize("fill", ["{},", "[[]],", '{"a":[]},', "1,", '"ab",'])
def test_the_largest_objects_cost_little(fill: str) -> None:
    mib, said = grown(PREPARED, ATTACK, fill)
    assert said == "True"
    assert mib < MOST_MIB
