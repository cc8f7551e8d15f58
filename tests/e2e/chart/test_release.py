"""A release on a real cluster: what it runs, what it may do, what stays of it."""

import base64
import json

import pytest
from obstore.exceptions import AlreadyExistsError
from obstore.store import S3Store
from tests.e2e.chart.cluster import (
    LOCAL_VALUES,
    NAME,
    RELEASE,
    ROOT,
    SYSTEM,
    TEAM,
    call,
    helm,
    kubectl,
    read,
    until,
)
from tests.patience import stretched

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("settings")]

STORE = f"{RELEASE}-trimtab-store"
ACCOUNT = f"system:serviceaccount:{SYSTEM}:{RELEASE}-trimtab"
DIGEST = "sha256:" + "0" * 64


def rolled_out(name: str) -> None:
    limit = f"--timeout={stretched(60):.0f}s"
    kubectl("rollout", "status", f"deployment/{name}", "-n", SYSTEM, limit)


def seed() -> str:
    """Return the release's key, in base64."""
    return str(read("secret", f"{RELEASE}-trimtab-signing-key", SYSTEM)["data"]["seed"])


def secret_values(namespace: str) -> dict[str, str]:
    data = read("secret", "trimtab-artifacts", namespace)["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def store_pod() -> str:
    pods = kubectl(
        "get", "pods", "-n", SYSTEM, "-l", "app.kubernetes.io/component=store", "-o", "name"
    )
    return pods.strip()


def bucket(name: str) -> S3Store:
    """Return a bucket of the store, by the Service's address."""
    keys = secret_values(SYSTEM)
    address = read("service", STORE)["spec"]["clusterIP"]
    return S3Store(
        name,
        endpoint=f"http://{address}:9000",
        access_key_id=keys["AWS_ACCESS_KEY_ID"],
        secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        region=keys["AWS_REGION"],
        client_options={"allow_http": True},
    )


def may(verb: str, resource: str, namespace: str = TEAM, user: str = ACCOUNT) -> bool:
    name, _, part = resource.partition("/")
    options = ("-n", namespace, "--as", user, *((f"--subresource={part}",) if part else ()))
    done = call("kubectl", "auth", "can-i", verb, name, *options)
    assert done.stdout.strip() in ("yes", "no"), done.stderr
    return done.stdout.strip() == "yes"


def version(name: str) -> str:
    model, _, number = name.rpartition("-")
    artifact = {"uri": f"s3://models/{model}/{number}/", "digest": DIGEST}
    return json.dumps(
        {
            "apiVersion": "trimtab.dev/v1alpha1",
            "kind": "ModelVersion",
            "metadata": {"name": name, "namespace": TEAM},
            "spec": {"model": model, "version": number, "artifact": artifact},
        }
    )


class TestRunning:
    def test_operator_and_store_come_up_where_pods_must_be_restricted(self):
        rolled_out(f"{RELEASE}-trimtab")
        rolled_out(STORE)

    def test_buckets_are_there_and_hold_what_is_put_once(self):
        rolled_out(STORE)
        for name in ("models", "data"):
            bucket(name).put("a/b.json", b"{}", mode="create")
            with pytest.raises(AlreadyExistsError):
                bucket(name).put("a/b.json", b"[]", mode="create")
            assert bucket(name).get("a/b.json").bytes() == b"{}"

    def test_keys_are_the_same_where_they_are_needed(self):
        assert secret_values(TEAM) == secret_values(SYSTEM)


class TestSigningKey:
    def test_is_made_and_what_made_it_is_gone(self):
        assert len(base64.b64decode(seed())) == 32
        for kind in ("job", "role", "rolebinding", "serviceaccount"):
            found = kubectl("get", kind, "-n", SYSTEM, "-o", "name")
            assert "signing-key" not in found, kind


class TestUpgrade:
    def test_keeps_keys_and_the_store_s_pod(self, settings):
        rolled_out(STORE)
        keys, key, pod = secret_values(SYSTEM), seed(), store_pod()
        helm("upgrade", *settings, "operator.logLevel=DEBUG")
        rolled_out(f"{RELEASE}-trimtab")
        assert secret_values(SYSTEM) == keys
        assert seed() == key
        assert store_pod() == pod

    def test_standby_becomes_ready_beside_the_active_one(self, settings):
        helm("upgrade", *settings, "operator.replicas=2")
        rolled_out(f"{RELEASE}-trimtab")
        assert read("deployment", f"{RELEASE}-trimtab")["status"]["readyReplicas"] == 2
        helm("upgrade", *settings)


class TestPermissions:
    @pytest.mark.parametrize(
        ("verb", "resource"),
        [
            ("watch", "modeldeployments.trimtab.dev"),
            ("patch", "modeldeployments.trimtab.dev/status"),
            ("create", "retrainjobs.trimtab.dev"),
            ("create", "modelversions.trimtab.dev"),
            ("patch", "deployments.apps"),
            ("delete", "deployments.apps"),
            ("patch", "services"),
            ("create", "jobs.batch"),
            ("list", "pods"),
            ("create", "secrets"),
            ("create", "events"),
            ("get", "events"),
            ("patch", "events"),
        ],
    )
    def test_operator_may(self, verb, resource):
        assert may(verb, resource)

    @pytest.mark.parametrize(
        ("verb", "resource"),
        [
            ("get", "secrets"),
            ("list", "secrets"),
            ("patch", "modeldeployments.trimtab.dev"),
            ("update", "modelversions.trimtab.dev"),
            ("delete", "modelversions.trimtab.dev"),
            ("create", "pods"),
            ("create", "pods/exec"),
            ("delete", "services"),
            ("list", "namespaces"),
            ("get", "leases.coordination.k8s.io"),
        ],
    )
    def test_operator_may_not(self, verb, resource):
        assert not may(verb, resource)

    def test_operator_may_nothing_elsewhere(self):
        assert not may("list", "pods", "default")
        assert not may("create", "secrets", SYSTEM)

    def test_people_get_it_with_the_cluster_s_own_roles(self):
        for role in ("view", "edit"):
            kubectl(
                "create", "rolebinding", role, "-n", TEAM, f"--clusterrole={role}", f"--user={role}"
            )
        kind = "modeldeployments.trimtab.dev"
        until(lambda: may("patch", kind, user="edit"), "roles aggregated")
        assert may("update", f"{kind}/scale", user="edit")
        assert may("watch", kind, user="view")
        assert not may("patch", kind, user="view")
        assert not may("patch", f"{kind}/status", user="edit")


class TestAdmission:
    def test_version_in_use_is_not_deleted(self):
        kubectl("apply", "-f", "-", stdin=version("used-v1"))
        status = json.dumps({"status": {"usedBy": ["shop"]}})
        patch = (
            "patch",
            "modelversions.trimtab.dev",
            "used-v1",
            "-n",
            TEAM,
            "--subresource=status",
            "--type=merge",
        )

        def is_refused() -> bool:
            kubectl(*patch, "-p", status)
            done = call(
                "kubectl",
                "delete",
                "modelversions.trimtab.dev",
                "used-v1",
                "-n",
                TEAM,
                "--dry-run=server",
            )
            return "used-v1 is in use by Deployment shop" in done.stderr

        until(is_refused, "policy in force")

    def test_command_names_its_giver(self):
        kubectl("apply", "-f", "-", stdin=version("told-v1"))
        annotate = (
            "kubectl",
            "annotate",
            "modelversions.trimtab.dev",
            "told-v1",
            "-n",
            TEAM,
            "--overwrite",
        )
        command = "trimtab.dev/command=promote/x/1"

        def is_refused() -> bool:
            forged = call(*annotate, command, "trimtab.dev/command-by=mallory", "--dry-run=server")
            return "trimtab.dev/command-by] must be" in forged.stderr

        until(is_refused, "policy in force")
        me = kubectl("auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
        kubectl(*annotate[1:], command, f"trimtab.dev/command-by={me}")
        kubectl(*annotate[1:], "note=harmless")


def test_install_yaml_is_accepted_by_the_server():
    options = ("--dry-run=server", "--server-side", "--force-conflicts")
    done = call("kubectl", "apply", *options, "-f", str(ROOT / "manifests" / "install.yaml"))
    refused = [
        line
        for line in done.stderr.splitlines()
        # a dry run makes no namespace for the others to be in
        if line and 'namespaces "trimtab-system" not found' not in line
    ]
    assert not refused


def test_persistent_store_and_own_s3_are_accepted_by_the_server(settings):
    for more in (
        ("store.persistence.enabled=true",),
        ("store.enabled=false", "artifacts.accessKeyId=a", "artifacts.secretAccessKey=b"),
        ("podSecurity.user=null", "operator.replicas=2"),
    ):
        options = [option for setting in (*settings, *more) for option in ("--set", setting)]
        done = call(
            "helm", "upgrade", RELEASE, str(ROOT / "charts" / "trimtab"), "--namespace", SYSTEM,
            "-f", str(LOCAL_VALUES), "--dry-run=server", *options,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_uninstalling_keeps_kinds_keys_and_objects():
    kubectl("apply", "-f", "-", stdin=version("kept-v1"))
    assert call("helm", "uninstall", RELEASE, "--namespace", SYSTEM, "--wait").returncode == 0
    assert read("modelversions.trimtab.dev", "kept-v1", TEAM)
    assert secret_values(TEAM)
    assert seed()
    policies = kubectl("get", "validatingadmissionpolicy", "-o", "name")
    assert NAME not in policies
    assert call("kubectl", "get", "deployment", STORE, "-n", SYSTEM).returncode != 0
