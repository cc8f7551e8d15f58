from collections.abc import Callable
from pathlib import Path

import pytest
from obstore.exceptions import BaseError
from tests.unit.contract.s3_server import S3

from trimtab.contract import location
from trimtab.contract.location import (
    AccessDenied,
    BadLocation,
    LocationError,
    NotInStore,
    StoreUnavailable,
    TooLarge,
    open_location,
)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        pytest.param("ftp://host/x", "scheme must be one of", id="other_scheme"),
        pytest.param("http://host/x", "scheme must be one of", id="plain_http"),
        pytest.param("/srv/models", "scheme must be one of", id="no_scheme"),
        pytest.param("s3://models/../other", "'.' or '..'", id="dots"),
        pytest.param("s3://models/%2e%2e/other", "'.' or '..'", id="escaped_dots"),
        pytest.param("pvc://../etc", "claim is missing", id="claim_is_dots"),
        pytest.param("s3:///x", "bucket, host or claim is missing", id="no_bucket"),
        pytest.param("https://me:secret@host/x", "belong into the Secret", id="credentials_in_uri"),
        pytest.param("https://host/x?token=1", "no query", id="query"),
        pytest.param("file://host/x", "three slashes", id="file_with_host"),
    ],
)
def test_refuses(uri: str, says: str) -> None:
    with pytest.raises(BadLocation, match=says):
        open_location(uri)


def test_message_of_a_uri_with_credentials_does_not_repeat_them() -> None:
    with pytest.raises(BadLocation) as caught:
        open_location("https://me:secret@host/x")
    assert "secret@" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["s3", "gs", "az", "https", "file", "pvc"])
def test_opens_every_scheme_without_contacting_it(scheme: str, tmp_path: Path) -> None:
    (tmp_path / "AZURE_STORAGE_ACCOUNT_NAME").write_text("account")
    uri = "file:///srv/x" if scheme == "file" else f"{scheme}://models/digits"
    assert open_location(uri, tmp_path).uri == uri + "/"


def test_unknown_setting_is_named(tmp_path: Path) -> None:
    (tmp_path / "AWS_SECRT").write_text("x")
    with pytest.raises(BadLocation, match="aws_secrt"):
        open_location("s3://models/x", tmp_path)


def test_file_reads_what_it_wrote(tmp_path: Path) -> None:
    location = open_location(f"file://{tmp_path}/a")
    location.put("b/c.txt", b"hello")
    assert location.get("b/c.txt", 5) == b"hello"
    assert (tmp_path / "a/b/c.txt").read_bytes() == b"hello"
    assert [(e.path, e.size) for e in location.entries()] == [("b/c.txt", 5)]
    assert location.below("b").get("c.txt", 5) == b"hello"
    assert location.head("b/c.txt").size == 5


def test_path_cannot_leave_the_folder(tmp_path: Path) -> None:
    with pytest.raises(BadLocation):
        open_location(f"file://{tmp_path}").get("../etc/passwd", 10)


def test_a_name_that_no_store_takes_is_an_error_of_the_place(tmp_path: Path) -> None:
    with pytest.raises(BadLocation, match="no store has such a name"):
        open_location(tmp_path.as_uri()).get("red\x1b[31m/manifest.json", 100)


def test_nothing_there(tmp_path: Path) -> None:
    location = open_location(f"file://{tmp_path}/none")
    with pytest.raises(NotInStore):
        location.get("x", 1)
    assert list(location.entries()) == []
    assert not (tmp_path / "none").exists()


def test_larger_than_allowed(tmp_path: Path) -> None:
    location = open_location(f"file://{tmp_path}")
    location.put("x", b"12345")
    with pytest.raises(TooLarge, match="5 bytes, more than the 4"):
        location.get("x", 4)
    with pytest.raises(TooLarge):
        location.fetch("x", tmp_path / "out", 4)


def test_s3_by_plain_http_endpoint_in_path_style(s3: S3, credentials: Path) -> None:
    location = open_location("s3://models/digits/", credentials)
    location.put("v1/manifest.json", b"{}")
    assert location.get("v1/manifest.json", 10) == b"{}"
    assert [e.path for e in location.entries()] == ["v1/manifest.json"]
    assert list(s3.objects) == ["/models/digits/v1/manifest.json"]
    assert all("Credential=key/" in authorization for *_, authorization in s3.requests)


def test_s3_without_keys_but_with_endpoint_is_anonymous(s3: S3, credentials: Path) -> None:
    (credentials / "AWS_ACCESS_KEY_ID").unlink()
    (credentials / "AWS_SECRET_ACCESS_KEY").unlink()
    open_location("s3://models", credentials).put("x", b"")
    assert s3.requests[0][2] == ""


def test_store_that_fails_twice_is_asked_again(s3: S3, credentials: Path) -> None:
    s3.objects["/models/x"] = b"body"
    s3.fail_next = [503, 500]
    assert open_location("s3://models", credentials).get("x", 4) == b"body"


def test_store_that_refuses_says_check_the_secret(s3: S3, credentials: Path) -> None:
    s3.fail_next = [403]
    with pytest.raises(AccessDenied, match="check the Secret"):
        open_location("s3://models", credentials).get("x", 4)


@pytest.mark.parametrize(
    ("uri", "asked", "says"),
    [
        ("s3://models", "http://169.254.169.254/latest/api/token", "set AWS_ACCESS_KEY_ID and AWS"),
        ("gs://models", "http://metadata.google.internal/x", "set GOOGLE_SERVICE_ACCOUNT_KEY, in"),
        ("az://models", "http://169.254.169.254/metadata/identity", "and AZURE_STORAGE_ACCOUNT_K"),
    ],
)
def test_no_credentials_are_said_with_what_to_set(uri: str, asked: str, says: str) -> None:
    error = BaseError(f"Generic error: Error performing PUT {asked} in 2s, after 2 retries")
    named = location._named(f"write {uri}/x", error)
    assert isinstance(named, StoreUnavailable)
    assert "there are no credentials: " in str(named)
    assert says in str(named)


@pytest.mark.parametrize(
    ("status", "code", "kind", "says"),
    [
        pytest.param(404, "XAdminUserNotFound", AccessDenied, "not know the access key", id="key"),
        pytest.param(403, "InvalidAccessKeyId", AccessDenied, "not know the access key", id="aws"),
        pytest.param(403, "SignatureDoesNotMatch", AccessDenied, "the secret key", id="secret"),
        pytest.param(403, "AccessDenied", AccessDenied, "may not do this", id="may_not"),
        pytest.param(400, "ExpiredToken", AccessDenied, "has expired", id="expired"),
        pytest.param(404, "NoSuchBucket", NotInStore, "no such bucket", id="bucket"),
    ],
)
@pytest.mark.parametrize("verb", ["get", "put", "list"])
def test_the_code_of_the_store_says_what_is_wrong(
    s3: S3,
    credentials: Path,
    *,
    verb: str,
    status: int,
    code: str,
    kind: type[LocationError],
    says: str,
) -> None:
    s3.refuse = status, code
    location = open_location("s3://models", credentials)
    calls: dict[str, Callable[[], object]] = {
        "get": lambda: location.get("x", 4),
        "put": lambda: location.put("x", b"1"),
        "list": lambda: list(location.entries()),
    }
    with pytest.raises(kind, match=says) as caught:
        calls[verb]()
    if kind is AccessDenied:
        assert "trimtab-artifacts" in str(caught.value)


def test_a_code_in_the_name_of_an_object_is_no_answer(s3: S3, credentials: Path) -> None:
    s3.refuse = 404, "NoSuchKey"
    location = open_location("s3://models", credentials)
    with pytest.raises(NotInStore, match="no such object"):
        location.get("non-2xx status code: <Code>InvalidAccessKeyId</Code>", 4)


def test_store_that_is_gone_is_unavailable(credentials: Path) -> None:
    (credentials / "AWS_ENDPOINT_URL").write_text("http://127.0.0.1:9")
    with pytest.raises(StoreUnavailable) as caught:
        open_location("s3://models", credentials).get("x", 4)
    assert "Debug source" not in str(caught.value)


def test_fetch_goes_on_where_the_connection_broke(
    s3: S3, credentials: Path, tmp_path: Path
) -> None:
    body = bytes(range(256)) * 8192
    s3.objects["/models/x"] = body
    s3.break_after = [1_500_000, 100_000]
    seen: list[int] = []
    location = open_location("s3://models", credentials)
    location.fetch("x", tmp_path / "x", len(body), progress=seen.append)
    assert (tmp_path / "x").read_bytes() == body
    assert seen[-1] == len(body)
    assert seen == sorted(seen)
