"""The cluster through kubectl: what is asked, and its errors as one line each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.kubectl import APIS, FakeKubectl, context

from trimtab.api.resource import DEPLOYMENTS, PODS, RETRAIN_JOBS, Key
from trimtab.cli.api import NoSuchKind, NoSuchObject, Outdated, Scope
from trimtab.cli.kubectl import Kubectl, path_of
from trimtab.cli.main import main
from trimtab.errors import Refused, TrimtabError

KEY = Key(DEPLOYMENTS, "shop", "digits")
DIGITS = {"metadata": {"name": "digits", "namespace": "shop"}}
RAW = "get --raw .*"
FORBIDDEN = (
    "Error from server (Forbidden): modeldeployments.trimtab.dev is forbidden: User "
    '"ann" cannot list resource "modeldeployments" in API group "trimtab.dev" in the namespace '
    '"shop"\n'
)
LOGGED = 'E1130 18:00:00.000000  123 memcache.go:265] "Unhandled Error" err="couldn\'t get"\n'


def said(kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str], words: str) -> str:
    """Run a command that fails; return what it says."""
    assert main(words.split()) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    return told.err


# --- what is asked ------------------------------------------------------------------------------


def test_paths_are_escaped() -> None:
    assert path_of(DEPLOYMENTS, "shop") == f"{APIS}modeldeployments"
    assert path_of(PODS, "a/../b", "x?y") == "/api/v1/namespaces/a%2F..%2Fb/pods/x%3Fy"


async def test_all_pages_are_read(kubectl: FakeKubectl) -> None:
    first = {"metadata": {"continue": "a b"}, "items": [DIGITS]}
    second = {"metadata": {"resourceVersion": "9", "continue": ""}, "items": [DIGITS | {"x": 1}]}
    path = f"{APIS}modeldeployments"
    kubectl.answer(rf"get --raw {path}\?limit=500", json.dumps(first))
    kubectl.answer(rf"get --raw {path}\?limit=500&continue=a\+b", json.dumps(second))
    listing = await Kubectl().list(DEPLOYMENTS, Scope("shop"))
    assert [one.get("x") for one in listing.items] == [None, 1]
    assert listing.items[0]["kind"] == "Deployment"
    assert listing.version == "9"


async def test_the_context_comes_first(kubectl: FakeKubectl) -> None:
    kubectl.answer("--context there get --raw .*", json.dumps(DIGITS))
    assert await Kubectl("there").get(KEY) == DIGITS


async def test_annotations_are_merged_in_one_write(kubectl: FakeKubectl) -> None:
    kubectl.answer("patch .*", json.dumps(DIGITS))
    await Kubectl().annotate(KEY, {"a": "b\nc"})
    ((words, _),) = kubectl.calls
    assert words[:3] == ["patch", "modeldeployments.v1alpha1.trimtab.dev", "digits"]
    assert json.loads(words[words.index("-p") + 1]) == {"metadata": {"annotations": {"a": "b\nc"}}}


async def test_creating_and_asking_who_we_are(kubectl: FakeKubectl) -> None:
    job = {"metadata": {"name": "digits-1"}}
    kubectl.answer(rf"create --raw {APIS}retrainjobs\?fieldValidation=Strict -f -", json.dumps(job))
    review = {"status": {"userInfo": {"username": "ann"}}}
    kubectl.answer("create --raw .*/selfsubjectreviews -f -", json.dumps(review))
    assert await Kubectl().create(Key(RETRAIN_JOBS, "shop", "digits-1"), job) == job
    assert await Kubectl().whoami() == "ann"
    assert json.loads(kubectl.calls[0][1]) == job
    assert json.loads(kubectl.calls[1][1])["kind"] == "SelfSubjectReview"


@pytest.mark.parametrize(("namespace", "found"), [("shop", "shop"), (None, "default")])
async def test_the_namespace_is_that_of_the_context(
    kubectl: FakeKubectl, namespace: str | None, found: str
) -> None:
    kubectl.answer("config view --minify -o json", json.dumps(context(namespace)))
    assert await Kubectl().namespace() == found


async def test_a_watch_goes_on_from_a_version_until_the_server_ends_it(
    kubectl: FakeKubectl,
) -> None:
    events = [{"type": "ADDED", "object": DIGITS}, {"type": "BOOKMARK", "object": {}}]
    out = "".join(f"{json.dumps(event)}\n" for event in events)
    kubectl.answer(r"get --raw .*\?watch=1&resourceVersion=7&.*", out)
    scope = Scope("shop", name="digits", labels="a=b")
    watched = Kubectl().watch(DEPLOYMENTS, scope, "7")
    assert [event async for event in watched] == events
    assert "fieldSelector=metadata.name%3Ddigits" in kubectl.calls[0][0][2]
    assert "labelSelector=a%3Db" in kubectl.calls[0][0][2]


async def test_an_outdated_watch_says_so(kubectl: FakeKubectl) -> None:
    status = {"kind": "Status", "code": 410, "message": "too old resource version"}
    kubectl.answer(RAW, json.dumps({"type": "ERROR", "object": status}) + "\n", stays=True)
    with pytest.raises(Outdated, match="too old"):
        await anext(Kubectl().watch(DEPLOYMENTS, Scope("shop"), "7"))


async def test_a_watch_that_is_left_leaves_no_process(kubectl: FakeKubectl) -> None:
    kubectl.answer(RAW, json.dumps({"type": "ADDED", "object": DIGITS}) + "\n", stays=True)
    watched = Kubectl().watch(DEPLOYMENTS, Scope("shop"), "7")
    assert (await anext(watched))["type"] == "ADDED"
    await watched.aclose()  # type: ignore[attr-defined]  # waits until the process is gone


# --- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "kind", "told"),
    [
        (FORBIDDEN, Refused, 'modeldeployments.trimtab.dev is forbidden: User "ann" cannot list'),
        (
            'Error from server (NotFound): modeldeployments.trimtab.dev "digits" not found\n',
            NoSuchObject,
            "there is no Deployment digits in namespace shop",
        ),
        (
            "Error from server (NotFound): the server could not find the requested resource\n",
            NoSuchKind,
            "is Trimtab installed?",
        ),
        (
            LOGGED
            * 3
            + "The connection to the server 127.0.0.1:1 was refused - did you specify the right "
            "host or port?\n",
            TrimtabError,
            "^The connection to the server 127.0.0.1:1 was refused",
        ),
        (
            "Unable to connect to the server: dial tcp: lookup nowhere: no such host\n",
            TrimtabError,
            "^dial tcp: lookup nowhere: no such host$",
        ),
        ("error: You must be logged in\nto the server\n", TrimtabError, "logged in to the server$"),
        ("", TrimtabError, "did not say why"),
        ("error: \x1b]0;evil\x07\x1b[2J\n", TrimtabError, "^[^\x1b\x07]*$"),
    ],
    ids=["forbidden", "object", "kind", "down", "dns", "lines", "silent", "escapes"],
)
async def test_each_error_is_one_clear_line(
    kubectl: FakeKubectl, words: str, kind: type[TrimtabError], told: str
) -> None:
    kubectl.fail(RAW, words)
    with pytest.raises(kind, match=told) as error:
        await Kubectl().get(KEY)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "[" * 100_000], ids=["empty", "cut", "list", "deep"]
)
async def test_what_is_no_object_is_an_error(kubectl: FakeKubectl, text: str) -> None:
    kubectl.answer(RAW, text)
    with pytest.raises(TrimtabError, match="kubectl did not print"):
        await Kubectl().get(KEY)


def test_without_kubectl_it_says_so(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]
) -> None:
    (kubectl.folder / "kubectl").unlink()
    assert "kubectl is not on the PATH" in said(kubectl, capsys, "get")


def test_without_a_kubeconfig_it_says_so(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]
) -> None:
    kubectl.fail("config view .*", "error: current-context must exist in order to minify\n")
    assert "no cluster: there is no kubeconfig" in said(kubectl, capsys, "get")


def test_a_kubeconfig_that_cannot_be_read_is_told_in_the_words_of_kubectl(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]
) -> None:
    kubectl.fail("config view .*", 'error: error loading config file "c": yaml: line 1: no\n')
    assert (
        said(kubectl, capsys, "get") == 'error: error loading config file "c": yaml: line 1: no\n'
    )


async def test_in_a_pod_without_a_kubeconfig_it_is_the_namespace_of_the_pod(
    kubectl: FakeKubectl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "namespace").write_text("inside\n")
    monkeypatch.setattr("trimtab.cli.kubectl.IN_CLUSTER_NAMESPACE", tmp_path / "namespace")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    kubectl.fail("config view .*", "error: current-context must exist in order to minify\n")
    assert await Kubectl().namespace() == "inside"


def test_a_context_that_there_is_not(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]
) -> None:
    kubectl.fail("--context nope config view .*", "error: cannot locate context nope\n")
    kubectl.answer("config get-contexts -o name", "here\nthere\n")
    told = said(kubectl, capsys, "--context nope get")
    assert told == "error: the kubeconfig has no context nope; there is here, there\n"


def test_forbidden_is_one_line(kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str]) -> None:
    for plural in ("modeldeployments", "driftpolicies", "retrainjobs"):
        kubectl.list(plural)
    kubectl.list("pods", path="/api/v1/namespaces/shop/")
    kubectl.fail(rf"get --raw {APIS}modeldeployments.*", FORBIDDEN)
    assert "is forbidden" in said(kubectl, capsys, "get")
