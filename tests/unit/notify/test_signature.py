"""Signatures as the specification of Standard Webhooks computes them."""

from __future__ import annotations

import base64

import pytest

from trimtab.notify.signature import PREFIX, read_keys, signed

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_published_vector() -> None:
    headers = signed(
        read_keys(KEY), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_while_a_key_is_replaced_both_sign() -> None:
    other = PREFIX + base64.b64encode(b"k" * 32).decode()
    signature = signed(read_keys(f"{KEY}\n{other}\n"), "id", 1, b"{}")["webhook-signature"]
    one, two = signature.split(" ")
    assert one != two
    assert one.startswith("v1,")
    assert two.startswith("v1,")


@pytest.mark.parametrize(
    "text",
    ["", "secret", PREFIX, PREFIX + "AAAA", PREFIX + "!" * 32, "x " * 5, PREFIX + "A" * 4000],
)
def test_what_is_no_key_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(ValueError) as refused:
        read_keys(text)
    assert text.strip() in ("", PREFIX) or text.strip() not in str(refused.value)
