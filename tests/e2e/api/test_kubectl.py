"""What a person sees of the kinds through kubectl: names, columns, explanations, scale."""

import shutil
import subprocess

import pytest
from tests.e2e.api.conftest import NAMESPACE, ROOT, TEST_GROUP, until
from tests.e2e.api.server import Refused, Server
from tests.patience import stretched
from tests.unit.api.objects import DEPLOYMENT, MODEL_VERSION

from trimtab.api.kinds import KINDS, KindInfo
from trimtab.api.meta import GROUP

pytestmark = pytest.mark.cluster


def kubectl(*words: str, text: str | None = None) -> str:
    """Return what kubectl prints in the test's namespace; `text` is its input."""
    program = shutil.which("kubectl")
    if program is None:
        pytest.skip("kubectl is not on the PATH")
    done = subprocess.run(
        [program, "--namespace", NAMESPACE, *words],
        input=text,
        check=False,
        capture_output=True,
        text=True,
        timeout=stretched(30),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def deployment(server: Server) -> str:
    """Return the path of a Deployment that exists during the test."""
    path = server.path("Deployment", DEPLOYMENT["metadata"]["name"])
    server.delete(path, missing_ok=True)
    server.create(server.path("Deployment"), server.ours(DEPLOYMENT))
    return path


@pytest.mark.parametrize("info", KINDS, ids=lambda info: info.kind)
def test_the_committed_file_is_what_kubectl_reads(server: Server, info: KindInfo) -> None:
    """YAML is read otherwise by kubectl than by Python: there, a bare `N` is a boolean."""
    text = (ROOT / f"crds/{info.plural}.{GROUP}.yaml").read_text().replace(GROUP, TEST_GROUP)
    dry = ("--server-side", "--force-conflicts", "--dry-run=server")
    assert "serverside-applied" in kubectl("apply", *dry, "-f", "-", text=text)


def test_kinds_are_found_by_short_name_and_category(server: Server) -> None:
    found = kubectl("api-resources", "--api-group", TEST_GROUP, "--no-headers", "-o", "wide")
    by_plural = {line.split()[0]: line.split() for line in found.splitlines()}
    assert set(by_plural) == {info.plural for info in KINDS}
    for info in KINDS:
        assert by_plural[info.plural][1] == info.short
        assert by_plural[info.plural][-1] == "trimtab"


@pytest.mark.parametrize("info", KINDS, ids=lambda info: info.kind)
def test_a_short_name_lists_with_our_columns(server: Server, info: KindInfo) -> None:
    case = {"Deployment": DEPLOYMENT, "ModelVersion": MODEL_VERSION}.get(info.kind)
    if case is None:
        assert kubectl("get", f"{info.short}.{TEST_GROUP}") == ""
        return
    path = server.path(info.kind, case["metadata"]["name"])
    server.delete(path, missing_ok=True)
    server.create(server.path(info.kind), server.ours(case))
    header, row = kubectl("get", f"{info.short}.{TEST_GROUP}").splitlines()
    assert header.split() == ["NAME", *(column.name for column in info.columns)]
    assert row.split()[:2] == [case["metadata"]["name"], "digits"]
    server.delete(path)


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        ("modeldeployments", "Keep one model of a line serving"),
        ("modeldeployments.spec.version", "The version to serve"),
        ("modeldeployments.spec.rollout.gates.bad", "wrong among labelled"),
        ("modeldeployments.status.lastGood", "What would be returned to"),
        ("modelversions.spec.artifact.digest", "manifest.json"),
        ("driftpolicies.spec.signals.tolerance", "is ignored"),
        ("driftpolicies.spec.retrain.cooldown", "Time between two retrainings"),
        ("retrainjobs.spec.cause.manual", "Person who asked"),
    ],
)
def test_explains_fields_in_sentences(server: Server, field: str, sentence: str) -> None:
    def explained() -> str:
        return kubectl("explain", f"--api-version={TEST_GROUP}/v1alpha1", field)

    until(lambda: sentence in " ".join(explained().split()), f"{field} explained")


def test_scale_reads_status_and_writes_spec(server: Server, deployment: str) -> None:
    status = {"replicas": 2, "selector": "trimtab.dev/deployment=digits"}
    server.merge(f"{deployment}/status", {"status": status})
    scale = server.read(f"{deployment}/scale")
    assert scale["spec"]["replicas"] == 3
    assert scale["status"] == status
    kubectl("scale", f"modeldeployments.{TEST_GROUP}/digits", "--replicas=5")
    assert server.read(deployment)["spec"]["replicas"] == 5
    with pytest.raises(Refused, match=r"spec\.replicas"):
        server.merge(f"{deployment}/scale", {"spec": {"replicas": 1001}})
    server.delete(deployment)
