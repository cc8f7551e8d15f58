"""Links to dashboards: escaped, with the path of the Grafana, or a clear error."""

from __future__ import annotations

import pytest
from tests.unit.cli.kubectl import FakeKubectl

from trimtab.cli.dashboard import BOARDS, grafana, link_to
from trimtab.cli.main import main
from trimtab.errors import SpecError

OF_DIGITS = "var-namespace=shop&var-deployment=digits"
BASE = "https://grafana.example.com/a/sub/"


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch, kubectl: FakeKubectl) -> None:
    monkeypatch.setenv("TRIMTAB_GRAFANA_URL", BASE)


def printed(capsys: pytest.CaptureFixture[str], line: str) -> str:
    assert main(line.split()) == 0
    return capsys.readouterr().out.strip()


@pytest.mark.parametrize(
    ("words", "end"),
    [
        ("", "trimtab-fleet?var-namespace=shop&from=now-24h&to=now"),
        ("digits", "trimtab-rollout?OF_DIGITS&from=now-1h&to=now"),
        ("dp/drift", "trimtab-quality?OF_DIGITS&from=now-7d&to=now"),
        ("rj/job", "trimtab-retraining?OF_DIGITS&from=now-7d&to=now"),
        ("mv/digits-v1", "trimtab-retraining?OF_DIGITS&from=now-7d&to=now"),
        ("--board operator", "trimtab-operator?from=now-1h&to=now"),
        ("digits --board serving", "trimtab-serving?OF_DIGITS&from=now-1h&to=now"),
    ],
)  # fmt: skip
def test_each_kind_has_its_dashboard(
    kubectl: FakeKubectl, capsys: pytest.CaptureFixture[str], words: str, end: str
) -> None:
    def named(name: str, **spec: object) -> dict[str, object]:
        return {"metadata": {"name": name}, "spec": spec}

    kubectl.get("driftpolicies", named("drift", selector={"deployments": ["digits"]}))
    kubectl.get("retrainjobs", named("job", cause={"deployment": "digits"}))
    kubectl.get("modelversions", named("digits-v1", model="digits"))
    kubectl.list("modeldeployments", named("digits", model="digits"), named("x", model="y"))
    assert (
        printed(capsys, f"dashboard {words}")
        == f"https://grafana.example.com/a/sub/d/{end.replace('OF_DIGITS', OF_DIGITS)}"
    )


def test_everything_is_escaped() -> None:
    link = link_to("https://g.example.com/ä b?orgId=2", "rollout", "a&b", "x#y z")
    assert link == (
        "https://g.example.com/%C3%A4%20b/d/trimtab-rollout?orgId=2&var-namespace=a%26b"
        "&var-deployment=x%23y%20z&from=now-1h&to=now"
    )


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "ftp://g/", "grafana.example.com", "https://", "http://g:0/",
        "http://g:99999/", "https://user:secret@g/", "https://g/#x", "https://g/\x1b[2J",
        "https://g/a b", 'https://g/"', "http://[::1",
    ],
)  # fmt: skip
def test_what_is_no_url_of_a_grafana_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("TRIMTAB_GRAFANA_URL", url)
    with pytest.raises(SpecError, match=r"is not http\(s\)://HOST/PATH") as error:
        grafana()
    assert str(error.value).isprintable()


def test_without_the_variable_it_says_which(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TRIMTAB_GRAFANA_URL")
    assert main(["dashboard"]) == 1
    assert capsys.readouterr().err.startswith("error: TRIMTAB_GRAFANA_URL is not set")


@pytest.mark.parametrize(("words", "opened"), [("--open", 1), ("--print", 0), ("", 0)])
def test_a_browser_is_opened_only_for_somebody_who_sees_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: str, opened: int
) -> None:
    links: list[str] = []

    def opened_by(link: str) -> bool:
        links.append(link)
        return True

    monkeypatch.setattr("webbrowser.open", opened_by)
    link = printed(capsys, f"dashboard {words}")
    assert links == [link] * opened


def test_a_browser_that_does_not_open_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("webbrowser.open", lambda link: False)
    assert main(["dashboard", "--open"]) == 1
    told = capsys.readouterr()
    assert told.out.startswith("https://")
    assert told.err == "error: no browser could be opened; the link is above\n"


def test_the_dashboards_are_those_of_the_design() -> None:
    assert {board.uid(name) for name, board in BOARDS.items()} == {
        "trimtab-fleet", "trimtab-rollout", "trimtab-quality", "trimtab-retraining",
        "trimtab-serving", "trimtab-operator",
    }  # fmt: skip
