"""The commands of the pages that need a cluster, as one story; a page may hold no other ones.

`tests/unit/docs` compares this list with the pages; `test_documented_commands.py` plays it.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.e2e.kit.release import LOCAL_IMAGES

DRY = "--dry-run=server"
IMAGES = " ".join(f"--set {setting}" for setting in LOCAL_IMAGES)


@dataclass(frozen=True)
class Step:
    """One command, exactly as a page has it.

    also: words put after it on the test's cluster, such as the images of this tree; what installs
    or removes the release of the other tests is a dry run there. prints: part of the output.
    needs: what `kubectl wait --for` waits for on `mdep/digits` before.
    """

    command: str
    also: str = ""
    prints: str = ""
    needs: str = ""


STEPPING = "jsonpath={.status.rollout.phase}=Stepping"
_INSTALL = (
    "helm upgrade --install trimtab charts/trimtab --namespace trimtab-system --create-namespace"
)

STORY = (
    # docs/index.md and README.md
    Step("sed -i 's|image: trimtab/|image: REGISTRY/trimtab/|' manifests/quickstart/*.yaml"),
    Step("kubectl create namespace shop", also=DRY, prints="namespace/shop"),
    Step(
        f"{_INSTALL} --set images.registry=REGISTRY --set 'artifacts.namespaces={{shop}}'",
        also=f"{IMAGES} {DRY}",
        prints="STATUS",
    ),
    Step("kubectl -n trimtab-system rollout status deployment/trimtab", prints="rolled out"),
    Step("kubectl config set-context --current --namespace shop", prints="modified"),
    Step(
        "kubectl apply -f manifests/quickstart/00-publish.yaml", prints="job.batch/digits-publish"
    ),
    Step("kubectl wait --for=condition=Complete --timeout=3m job/digits-publish", prints="met"),
    Step("kubectl logs job/digits-publish | kubectl apply -f -", prints="digits-v1"),
    Step("kubectl get mv", prints="digits-v3"),
    Step("kubectl apply -f manifests/quickstart/01-serve.yaml", prints="digits"),
    Step("kubectl wait --for=condition=Ready --timeout=2m mdep/digits", prints="met"),
    Step("kubectl apply -f manifests/quickstart/02-users.yaml", prints="digits-users"),
    Step("kubectl apply -f manifests/quickstart/03-try-worse.yaml", prints="digits"),
    Step("kubectl wait --for=condition=Quarantined --timeout=3m mdep/digits", prints="met"),
    Step("kubectl trimtab why mdep/digits", prints="RolledBack"),
    Step("kubectl apply -f manifests/quickstart/04-try-better.yaml", prints="digits"),
    # docs/operations.md: commands of a person, while v3 is tried
    Step("kubectl trimtab handover mdep/digits", prints="serves"),
    Step("kubectl trimtab pause mdep/digits", needs=STEPPING),
    Step("kubectl trimtab resume mdep/digits", needs="condition=Paused"),
    Step("kubectl trimtab get mdep/digits", prints="v3"),
    Step("kubectl trimtab promote mdep/digits", needs=STEPPING),
    # docs/index.md
    Step(
        "kubectl wait --for=jsonpath='{.status.stable.version}'=v3 --timeout=5m mdep/digits",
        prints="met",
    ),
    # docs/gitops.md
    Step(
        "kubectl wait mdep/digits --namespace shop --for=condition=UpToDate --timeout=30m",
        prints="met",
    ),
    Step(
        "trimtab wait mdep/digits --namespace shop --promoted --version v3 --timeout 1h",
        prints="v3 serves",
    ),
    # docs/index.md
    Step("kubectl trimtab rollback mdep/digits", needs="condition=Progressing=False"),
    Step("kubectl trimtab retry mdep/digits", needs="condition=Quarantined"),
    Step("kubectl trimtab abort mdep/digits", needs=STEPPING),
    Step("kubectl trimtab get", prints="digits"),
    # and the line is followed and watched
    Step(
        "kubectl apply -f manifests/quickstart/05-follow.yaml "
        "-f manifests/quickstart/06-watch.yaml",
        prints="driftpolicy",
    ),
    Step("kubectl get mdep,mv,dp,rj", prints="driftpolicy.trimtab.dev/digits"),
    Step("kubectl apply -f manifests/quickstart/07-shift.yaml", prints="digits-label"),
    Step("kubectl trimtab retrain mdep/digits --since 24h", prints="RetrainJob"),
    # docs/serving.md
    Step("kubectl scale mdep/digits --replicas=4", prints="scaled"),
    # docs/operations.md
    Step("helm show values charts/trimtab", prints="watchNamespaces"),
    Step("kubectl explain mdep.spec.rollout", prints="allowCoarse"),
    Step(
        f"{_INSTALL} --set images.registry=REGISTRY --set store.enabled=false "
        "--set operator.replicas=2 --set artifacts.endpoint=https://s3.example.com "
        "--set artifacts.accessKeyId=ID --set artifacts.secretAccessKey=KEY "
        "--set 'artifacts.namespaces={shop}'",
        also=f"{IMAGES} {DRY}",
        prints="STATUS",
    ),
    Step(
        "sed -E 's#(image|value): (trimtab|versity)/#\\1: REGISTRY/\\2/#' manifests/install.yaml | "
        "kubectl apply --server-side -f -",
        also=f"--force-conflicts {DRY}",
        prints="serverside-applied",
    ),
    Step(
        "kubectl -n trimtab-system create secret generic trimtab-artifacts "
        "--from-literal=AWS_ENDPOINT_URL=http://trimtab-store.trimtab-system.svc:9000 "
        "--from-literal=AWS_REGION=us-east-1 --from-literal=AWS_ACCESS_KEY_ID=trimtab "
        '--from-literal=AWS_SECRET_ACCESS_KEY="$(openssl rand -hex 20)"',
        also="--dry-run=client",
        prints="trimtab-artifacts",
    ),
    Step(
        "printf '{apiVersion: v1, kind: Secret, metadata: {name: trimtab-artifacts}, data: %s}' "
        "\"$(kubectl -n trimtab-system get secret trimtab-artifacts -o jsonpath='{.data}')\" | "
        "kubectl apply --namespace shop -f -",
        also="--dry-run=client",
        prints="trimtab-artifacts",
    ),
    Step("kubectl -n trimtab-system logs deployment/trimtab --tail=50"),
    Step("kubectl get mdep,mv,dp,rj --all-namespaces", prints="digits"),
    Step("kubectl get events --field-selector reason=RolledBack --all-namespaces", prints="digits"),
    Step(
        "helm upgrade trimtab charts/trimtab --namespace trimtab-system --reset-then-reuse-values",
        also=DRY,
        prints="STATUS",
    ),
    Step("kubectl get mv,mdep,dp --all-namespaces -o yaml > trimtab-objects.yaml"),
    Step("helm uninstall trimtab --namespace trimtab-system", also="--dry-run", prints="trimtab"),
)
