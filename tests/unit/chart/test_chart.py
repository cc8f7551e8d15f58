"""What the chart renders, by variant."""

import gzip
import json
import os
import subprocess

import pytest
import yaml
from tests.unit.chart.rendering import (
    CHART,
    ROOT,
    find_helm,
    of_kind,
    pod_specs,
    refusal,
    render,
    rules,
    run_helm,
)

from trimtab.notify.settings import read_notifications

EXTERNAL = (
    "store.enabled=false",
    "artifacts.endpoint=https://minio.example.com:9443",
    "artifacts.accessKeyId=me",
    "artifacts.secretAccessKey=secret",
)
NOTIFYING = (
    "notifications.secret=told",
    "notifications.dashboardURL=https://g/{namespace}",
    "notifications.destinations[0].name=team-a",
    "notifications.destinations[0].type=slack",
    "notifications.destinations[0].reasons={RolledBack,Promoted}",
)
VARIANTS = {
    "default": (),
    "namespaced": ("watchNamespaces={shop,lab}",),
    "own_s3": EXTERNAL,
    "own_secret": ("artifacts.existingSecret=mine",),
    "persistent": ("store.persistence.enabled=true",),
    "notifying": NOTIFYING,
    "two_replicas_monitored": ("operator.replicas=2", "podMonitor.enabled=true"),
}


@pytest.fixture(params=VARIANTS, ids=list(VARIANTS))
def objects(request):
    return render(*VARIANTS[request.param])


def test_lints_without_a_word():
    done = run_helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout
    assert "[ERROR]" not in done.stdout


class TestEveryVariant:
    def test_has_no_wildcard_in_any_role(self, objects):
        for name, rule in rules(objects):
            for field in ("apiGroups", "resources", "verbs"):
                assert "*" not in rule[field], name

    def test_reads_no_secret(self, objects):
        for name, rule in rules(objects):
            if "secrets" in rule["resources"]:
                assert rule["verbs"] == ["create"], name

    def test_operator_writes_no_spec_of_ours(self, objects):
        own = [r for name, r in rules(objects) if "trimtab.dev" in r["apiGroups"]]
        for rule in own:
            if set(rule["verbs"]) & {"update", "patch"}:
                is_for_people = "modeldeployments/scale" in rule["resources"] or (
                    "deletecollection" in rule["verbs"]
                )
                assert is_for_people or all("/" in resource for resource in rule["resources"])

    def test_every_pod_is_restricted(self, objects):
        for name, spec in pod_specs(objects).items():
            pod = spec["securityContext"]
            assert pod["runAsNonRoot"] is True, name
            assert pod["seccompProfile"] == {"type": "RuntimeDefault"}, name
            assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
            for container in spec["containers"] + spec.get("initContainers", []):
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                }, container["name"]
                assert "memory" in container["resources"]["limits"]

    def test_pods_but_the_operator_and_the_maker_of_its_key_have_no_api_token(self, objects):
        for name, spec in pod_specs(objects).items():
            has_token = name in ("trimtab", "trimtab-signing-key")
            assert spec["automountServiceAccountToken"] is has_token, name

    def test_namespaced_objects_say_their_namespace(self, objects):
        global_kinds = {
            "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition",
            "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
        }  # fmt: skip
        for o in objects:
            assert ("namespace" in o["metadata"]) is (o["kind"] not in global_kinds), o["metadata"]

    def test_no_two_objects_are_the_same(self, objects):
        keys = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects]
        assert len(keys) == len(set(keys))

    def test_kinds_are_kept_on_uninstall(self, objects):
        crds = of_kind(objects, "CustomResourceDefinition")
        assert len(crds) == 4
        for crd in crds.values():
            assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


class TestClusterMode:
    def test_one_cluster_role_and_no_role_but_for_the_lease_and_the_key(self):
        objects = render()
        assert set(of_kind(objects, "Role")) == {
            "trimtab-system/trimtab-lease",
            "trimtab-system/trimtab-signing-key",
        }
        assert set(of_kind(objects, "ClusterRole")) == {"trimtab", "trimtab-view", "trimtab-edit"}

    def test_roles_for_people_fold_into_the_cluster_s_own(self):
        roles = of_kind(render(), "ClusterRole")
        prefix = "rbac.authorization.k8s.io/aggregate-to-"
        view, edit = (roles[n]["metadata"]["labels"] for n in ("trimtab-view", "trimtab-edit"))
        assert view[prefix + "view"] == "true"
        assert prefix + "view" not in edit
        assert edit[prefix + "edit"] == edit[prefix + "admin"] == "true"

    def test_two_releases_share_no_cluster_wide_name(self):
        first, second = (
            {o["metadata"]["name"] for o in render(namespace=n) if "namespace" not in o["metadata"]}
            for n in ("trimtab-system", "elsewhere")
        )
        assert all(name.endswith(".trimtab.dev") for name in first & second)


class TestNamespacedMode:
    def test_a_role_in_each_namespace_and_none_for_the_cluster(self):
        objects = render("watchNamespaces={shop,lab}", "rbac.userRoles=false")
        roles = of_kind(objects, "Role")
        assert set(roles) == {
            "shop/trimtab",
            "lab/trimtab",
            "trimtab-system/trimtab-lease",
            "trimtab-system/trimtab-signing-key",
        }
        assert not of_kind(objects, "ClusterRole")
        assert not of_kind(objects, "ClusterRoleBinding")
        assert (
            roles["shop/trimtab"]["rules"] == of_kind(render(), "ClusterRole")["trimtab"]["rules"]
        )

    def test_operator_is_told_its_namespaces(self):
        (operator,) = pod_specs(render("watchNamespaces={shop,lab}"))["trimtab"]["containers"]
        env = {e["name"]: e.get("value") for e in operator["env"]}
        assert env["TRIMTAB_WATCH_NAMESPACES"] == "shop,lab"

    def test_admission_holds_there_only(self):
        bindings = of_kind(render("watchNamespaces={shop}"), "ValidatingAdmissionPolicyBinding")
        for binding in bindings.values():
            (expression,) = binding["spec"]["matchResources"]["namespaceSelector"][
                "matchExpressions"
            ]
            assert expression["values"] == ["shop"]


class TestStore:
    def test_default_needs_no_storage_class(self):
        objects = render()
        assert not of_kind(objects, "PersistentVolumeClaim")
        volumes = {v["name"]: v for v in pod_specs(objects)["trimtab-store"]["volumes"]}
        assert "emptyDir" in volumes["data"]

    def test_claim_outlives_the_release(self):
        claims = of_kind(render("store.persistence.enabled=true"), "PersistentVolumeClaim")
        (claim,) = claims.values()
        assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"

    def test_an_upgrade_of_the_chart_alone_does_not_touch_its_pod(self):
        template = of_kind(render(), "Deployment")["trimtab-system/trimtab-store"]["spec"][
            "template"
        ]
        assert "helm.sh/chart" not in template["metadata"]["labels"]
        assert "app.kubernetes.io/version" not in template["metadata"]["labels"]
        assert "annotations" not in template["metadata"]

    def test_keys_are_the_same_in_every_namespace(self):
        secrets = of_kind(render("artifacts.namespaces={shop,lab}"), "Secret")
        assert set(secrets) == {f"{n}/trimtab-artifacts" for n in ("shop", "lab", "trimtab-system")}
        (first, *others) = (s["stringData"] for s in secrets.values())
        assert all(other == first for other in others)
        assert first["AWS_ENDPOINT_URL"] == "http://trimtab-store.trimtab-system.svc:9000"
        assert len(first["AWS_SECRET_ACCESS_KEY"]) == 40

    def test_own_s3_brings_no_store(self):
        objects = render(*EXTERNAL)
        assert set(pod_specs(objects)) == {"trimtab", "trimtab-signing-key"}
        (secret,) = of_kind(objects, "Secret").values()
        assert secret["stringData"] == {
            "AWS_ENDPOINT_URL": "https://minio.example.com:9443",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "me",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
        policy = of_kind(objects, "NetworkPolicy")["trimtab-system/trimtab"]
        ports = [p["port"] for rule in policy["spec"]["egress"] for p in rule["ports"]]
        assert 9443 in ports

    def test_own_secret_is_mounted_and_none_is_made(self):
        objects = render("artifacts.existingSecret=mine", "artifacts.namespaces={shop}")
        assert not of_kind(objects, "Secret")
        volumes = {v["name"]: v for v in pod_specs(objects)["trimtab"]["volumes"]}
        assert volumes["artifacts"]["secret"] == {"secretName": "mine", "optional": True}
        (store,) = pod_specs(objects)["trimtab-store"]["containers"]
        references = [e["valueFrom"] for e in store["env"] if "valueFrom" in e]
        assert {r["secretKeyRef"]["name"] for r in references} == {"mine"}


class TestCheckpoints:
    def uri(self, *settings):
        (container,) = pod_specs(render(*settings))["trimtab"]["containers"]
        env = {one["name"]: one.get("value") for one in container["env"]}
        return env.get("TRIMTAB_CHECKPOINT_URI")

    def test_lie_in_the_embedded_store(self):
        assert self.uri() == "s3://models/trimtab-checkpoints"
        assert self.uri("store.buckets={aaa,bbb}") == "s3://aaa/trimtab-checkpoints"

    def test_are_kept_where_told(self):
        assert self.uri(*EXTERNAL) is None
        assert self.uri(*EXTERNAL, "checkpoint.uri=s3://ops/kept") == "s3://ops/kept"

    def test_a_place_that_cannot_be_written_is_refused(self):
        assert "checkpoint" in refusal("checkpoint.uri=https://example.com/kept")


class TestSigningKey:
    def test_two_renders_are_equal_and_hold_no_key(self):
        options = ("template", "trimtab", str(CHART), "--set", "artifacts.existingSecret=mine")
        first, second = (run_helm(*options).stdout for _ in range(2))
        assert first == second
        assert not of_kind(render("artifacts.existingSecret=mine"), "Secret")

    def test_a_hook_makes_it_before_the_operator_starts(self):
        hooks = [o for o in render() if "helm.sh/hook" in (o["metadata"].get("annotations") or {})]
        assert {o["metadata"]["name"] for o in hooks} == {"trimtab-signing-key"}
        order = {o["kind"]: o["metadata"]["annotations"] for o in hooks}
        assert set(order) == {"ServiceAccount", "Role", "RoleBinding", "Job"}
        for annotations in order.values():
            assert annotations["helm.sh/hook"] == "pre-install,pre-upgrade"
            policy = annotations["helm.sh/hook-delete-policy"].split(",")
            assert set(policy) == {"before-hook-creation", "hook-succeeded"}
        job = int(order.pop("Job")["helm.sh/hook-weight"])
        assert all(int(other["helm.sh/hook-weight"]) < job for other in order.values())

    def test_its_job_may_create_secrets_here_and_nothing_else(self):
        found = [rule for name, rule in rules(render()) if name == "trimtab-signing-key"]
        assert found == [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]}]
        role = of_kind(render(), "RoleBinding")["trimtab-system/trimtab-signing-key"]["roleRef"]
        assert role["kind"] == "Role"

    def test_its_job_is_gone_before_the_next_version_comes(self):
        (job,) = of_kind(render(), "Job").values()
        assert job["spec"]["ttlSecondsAfterFinished"] == 600
        assert job["spec"]["activeDeadlineSeconds"] == 300

    @pytest.mark.parametrize(
        ("settings", "name"),
        [((), "trimtab-signing-key"), (("signingKey.existingSecret=mine",), "mine")],
    )
    def test_the_operator_waits_for_it_and_reads_it_from_a_file(self, settings, name):
        spec = pod_specs(render(*settings))["trimtab"]
        volumes = {volume["name"]: volume.get("secret") for volume in spec["volumes"]}
        assert volumes["signing-key"] == {"secretName": name}
        (container,) = spec["containers"]
        mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
        env = {one["name"]: one.get("value") for one in container["env"]}
        assert env["TRIMTAB_SIGNING_KEY_FILE"] == f"{mounts['signing-key']['mountPath']}/seed"
        assert mounts["signing-key"]["readOnly"] is True

    def test_a_secret_of_one_s_own_needs_no_job(self):
        objects = render("signingKey.existingSecret=mine")
        assert not of_kind(objects, "Job")
        assert "trimtab-system/trimtab-signing-key" not in of_kind(objects, "Role")
        without_roles = render("signingKey.existingSecret=mine", "rbac.create=false")
        assert not of_kind(without_roles, "RoleBinding")


class TestPrometheus:
    def test_named_secrets_are_mounted_and_may_be_absent(self):
        spec = pod_specs(render("prometheus.secrets={mimir,thanos}"))["trimtab"]
        mounts = {m["mountPath"]: m["name"] for m in spec["containers"][0]["volumeMounts"]}
        volumes = {v["name"]: v.get("secret") for v in spec["volumes"]}
        for name in ("mimir", "thanos"):
            volume = mounts[f"/var/run/trimtab/prometheus/{name}"]
            assert volumes[volume] == {"secretName": name, "optional": True}

    def test_monitors_find_the_pods_that_serve(self):
        monitors = of_kind(render("podMonitor.enabled=true"), "PodMonitor")
        spec = monitors["trimtab-system/trimtab-models"]["spec"]
        assert spec["namespaceSelector"] == {"any": True}
        some = of_kind(
            render("podMonitor.enabled=true", "watchNamespaces={shop,bank}"), "PodMonitor"
        )
        named = some["trimtab-system/trimtab-models"]["spec"]["namespaceSelector"]
        assert named == {"matchNames": ["shop", "bank"]}
        assert spec["podMetricsEndpoints"][0]["port"] == "metrics"
        own = monitors["trimtab-system/trimtab"]["spec"]["podMetricsEndpoints"]
        assert own[0]["honorLabels"]  # namespace is that of the object

    def test_rules_are_those_of_the_file(self):
        assert not of_kind(render(), "PrometheusRule")
        settings = ("prometheusRule.enabled=true", "prometheusRule.labels.release=prometheus")
        rule = of_kind(render(*settings), "PrometheusRule")["trimtab-system/trimtab"]
        assert rule["spec"] == yaml.safe_load((CHART / "files/rules.yaml").read_text())
        assert rule["metadata"]["labels"]["release"] == "prometheus"

    def test_links_of_rules_lead_to_the_pages_of_the_person(self):
        url = "https://docs.example.com/trimtab/"
        objects = render("prometheusRule.enabled=true", f"prometheusRule.docsUrl={url}")
        rule = of_kind(objects, "PrometheusRule")["trimtab-system/trimtab"]
        alerts = [r for group in rule["spec"]["groups"] for r in group["rules"] if "alert" in r]
        links = {alert["annotations"]["runbook_url"] for alert in alerts}
        assert len(links) == len(alerts)
        assert all(link.startswith(f"{url}alerts.html#") for link in links)


class TestDashboards:
    FILES = sorted((CHART / "files/dashboards").glob("*.json"))

    def test_are_off_as_the_monitors_are(self):
        assert "dashboard" not in json.dumps(render()).replace("dashboardURL", "")

    def test_sidecar_finds_each_in_a_config_map(self):
        maps = of_kind(render("dashboards.configMaps.enabled=true"), "ConfigMap")
        assert len(self.FILES) == 6
        for file in self.FILES:
            found = maps[f"trimtab-system/trimtab-dashboard-{file.stem}"]
            assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
            assert found["metadata"]["annotations"] == {"grafana_folder": "Trimtab"}
            (name,) = found["data"]
            assert name == f"trimtab-{file.stem}.json"
            assert json.loads(found["data"][name]) == json.loads(file.read_text())

    def test_labels_and_places_are_those_of_the_person(self):
        maps = of_kind(
            render(
                "dashboards.configMaps.enabled=true",
                "dashboards.configMaps.namespace=monitoring",
                "dashboards.configMaps.label=example.com/board",
                "dashboards.configMaps.labelValue=",
                "dashboards.configMaps.folder=",
            ),
            "ConfigMap",
        )
        found = maps["monitoring/trimtab-dashboard-fleet"]["metadata"]
        assert found["labels"]["example.com/board"] == ""
        assert "annotations" not in found

    def test_grafana_operator_gets_each_as_an_object(self):
        settings = (
            "dashboards.grafanaOperator.enabled=true",
            "dashboards.grafanaOperator.instanceSelector.matchLabels.dashboards=mine",
            "dashboards.grafanaOperator.folder=ML",
        )
        objects = render(*settings)
        boards = of_kind(objects, "GrafanaDashboard")
        assert set(boards) == {f"trimtab-system/trimtab-{file.stem}" for file in self.FILES}
        assert not [name for name in of_kind(objects, "ConfigMap") if "dashboard" in name]
        for file in self.FILES:
            board = boards[f"trimtab-system/trimtab-{file.stem}"]
            spec = dict(board["spec"])
            assert board["apiVersion"] == "grafana.integreatly.org/v1beta1"
            assert json.loads(spec.pop("json")) == json.loads(file.read_text())
            assert spec == {
                "instanceSelector": {"matchLabels": {"dashboards": "mine"}},
                "allowCrossNamespaceImport": True,
                "folder": "ML",
                "resyncPeriod": "10m",
            }

    def test_a_release_with_all_of_it_fits_into_a_secret(self):
        everything = (
            "podMonitor.enabled=true",
            "prometheusRule.enabled=true",
            "dashboards.configMaps.enabled=true",
            "dashboards.grafanaOperator.enabled=true",
        )
        files = [file.read_text() for file in CHART.rglob("*") if file.is_file()]
        # A Secret holds the base64 of this, and is base64 in turn: 1 MiB at most.
        stored = gzip.compress(json.dumps([files, render(*everything)]).encode())
        assert len(stored) * 16 / 9 < 0.6 * 2**20

    @pytest.mark.parametrize(
        "setting",
        [
            "dashboards.configMaps.label=no label",
            "dashboards.configMaps.labelValue=a b",
            "dashboards.configMaps.namespace=Not-A-Name",
            "dashboards.grafanaOperator.resyncPeriod=often",
            "dashboards.grafanaOperator.instanceSelector.labels.a=b",
            "dashboards.more=true",
        ],
    )
    def test_wrong_values_are_refused(self, setting):
        assert "dashboards" in refusal(setting)


class TestNotifications:
    def test_without_destinations_there_is_nothing(self):
        text = json.dumps(render())
        assert "notifications" not in text
        assert not [rule for _, rule in rules(render()) if "namespaces" in rule["resources"]]

    def test_what_the_operator_reads_is_what_the_values_say(self, tmp_path):
        objects = render(*NOTIFYING)
        config = of_kind(objects, "ConfigMap")["trimtab-system/trimtab-notifications"]
        (tmp_path / "n.json").write_text(config["data"]["notifications.json"])
        found = read_notifications(tmp_path / "n.json")
        assert found.dashboard_url == "https://g/{namespace}"
        (destination,) = found.destinations
        assert (destination.name, destination.type) == ("team-a", "slack")
        assert destination.reasons == ["RolledBack", "Promoted"]

    def test_the_secret_is_mounted_and_never_read_by_the_api(self):
        objects = render(*NOTIFYING)
        spec = pod_specs(objects)["trimtab"]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        secret = {"secretName": "told", "optional": True}
        assert volumes["notification-secrets"]["secret"] == secret
        (container,) = spec["containers"]
        mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
        env = {one["name"]: one.get("value") for one in container["env"]}
        assert mounts["notification-secrets"]["readOnly"] is True
        folder = mounts["notification-secrets"]["mountPath"]
        assert env["TRIMTAB_NOTIFICATIONS_SECRETS"] == folder
        path = f"{mounts['notifications']['mountPath']}/notifications.json"
        assert env["TRIMTAB_NOTIFICATIONS_FILE"] == path

    @pytest.mark.parametrize("more", [(), ("watchNamespaces={shop,lab}",)])
    def test_it_may_read_namespaces_one_by_one_and_nothing_else_is_new(self, more):
        def of(settings):
            return [json.dumps(rule) for _, rule in rules(render(*settings, *more))]

        new = [json.loads(rule) for rule in of(NOTIFYING)]
        for rule in of(()):
            new.remove(json.loads(rule))
        allowed = {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]}
        assert new == [allowed] * (2 if more else 1)

    def test_the_operator_starts_anew_with_other_destinations_and_not_with_other_secrets(self):
        def annotations(*settings):
            (found,) = (o for o in render(*settings) if o["kind"] == "Deployment"
                        and o["metadata"]["name"] == "trimtab")  # fmt: skip
            return found["spec"]["template"]["metadata"]["annotations"]

        before = annotations(*NOTIFYING)
        assert annotations(*NOTIFYING, "notifications.destinations[0].use=Always") != before
        assert annotations(*NOTIFYING, "operator.podAnnotations.a=b") == {**before, "a": "b"}

    @pytest.mark.parametrize(
        ("settings", "word"),
        [
            (NOTIFYING[1:], "notifications.secret is needed"),
            ((*NOTIFYING, "notifications.destinations[0].url=https://x"), "url"),
            ((*NOTIFYING, "notifications.destinations[0].type=mail"), "type"),
            ((*NOTIFYING, "notifications.destinations[0].name=A/B"), "name"),
            (
                (*NOTIFYING, "notifications.destinations[1].name=team-a",
                 "notifications.destinations[1].type=teams"),
                "two have the name team-a",
            ),
        ],
    )  # fmt: skip
    def test_a_mistake_is_refused_by_name(self, settings, word):
        assert word in refusal(*settings)


class TestImages:
    def test_registry_tag_and_digest(self):
        digest = "sha256:" + "0" * 64
        objects = render(
            "images.registry=registry.example.com/mirror",
            "images.serving.tag=nightly",
            "images.training.registry=localhost",
            f"images.training.digest={digest}",
        )
        (operator,) = pod_specs(objects)["trimtab"]["containers"]
        env = {e["name"]: e.get("value") for e in operator["env"]}
        version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
        assert operator["image"] == f"registry.example.com/mirror/trimtab/operator:{version}"
        assert env["TRIMTAB_SERVING_IMAGE"] == "registry.example.com/mirror/trimtab/serving:nightly"
        assert env["TRIMTAB_TRAINING_IMAGE"] == f"localhost/trimtab/training@{digest}"


def test_disruption_budget_only_where_one_can_be_spared():
    assert not of_kind(render(), "PodDisruptionBudget")
    assert of_kind(render("operator.replicas=2"), "PodDisruptionBudget")


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ("operator.replica=2", "replica"),
        ("images.pullPolicy=Sometimes", "pullPolicy"),
        ("store.port=70000", "port"),
        ("watchNamespaces={Shop}", "watchNamespaces"),
        ("images.store.digest=md5:1", "digest"),
        ("store.enabled=false", "existingSecret"),
        ("serviceAccount.create=false", "serviceAccount.name"),
        ("rbac.create=false", "signingKey.existingSecret"),
    ],
)
def test_a_wrong_value_is_refused_by_name(setting, word):
    assert word in refusal(setting)


def test_every_value_is_in_the_schema_and_documented():
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def compare(value, part, path):
        properties = part.get("properties")
        if properties is None or not isinstance(value, dict):
            return
        assert set(value) == set(properties) - {"global", "claims"} or path == ".resources", path
        for name, below in value.items():
            if name != "resources":
                compare(below, properties[name], f"{path}.{name}")

    compare(values, schema, "")


def test_install_yaml_is_what_the_chart_renders():
    done = subprocess.run(
        [str(ROOT / "manifests" / "render"), "--check"],
        env={**os.environ, "HELM": find_helm()},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not of_kind(
        [d for d in yaml.safe_load_all((ROOT / "manifests" / "install.yaml").read_text()) if d],
        "Secret",
    )
