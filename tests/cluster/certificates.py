"""Certificates and kubeconfigs of a cluster, made with openssl (elliptic curves: milliseconds)."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from .settings import API_SERVER, FIRST_SERVICE_ADDRESS, NODE, NODE_ADDRESS, Settings
from .shell import run

DAYS = "3650"
SERVER_NAMES = (
    f"IP:{NODE_ADDRESS},IP:127.0.0.1,IP:{FIRST_SERVICE_ADDRESS},DNS:{NODE},DNS:localhost,"
    "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,"
    "DNS:kubernetes.default.svc.cluster.local"
)
# part -> subject: the API server reads user (CN) and group (O) from it
SUBJECTS = {
    "apiserver": "/CN=kube-apiserver",
    "kubelet-client": "/O=system:masters/CN=kube-apiserver-kubelet-client",
    "front-proxy": "/CN=front-proxy-client",
    "admin": "/O=system:masters/CN=admin",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "proxy": "/CN=system:kube-proxy",
    "coredns": "/CN=system:coredns",
    NODE: f"/O=system:nodes/CN=system:node:{NODE}",
}
WITHOUT_KUBECONFIG = {"apiserver", "kubelet-client", "front-proxy"}


def make_certificates(settings: Settings) -> None:
    """Make all keys, certificates and kubeconfigs, unless they are there."""
    folder = settings.certificates
    if settings.kubeconfig.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    _make_key(folder / "service-accounts.key")
    public = folder / "service-accounts.pub"
    run(["openssl", "pkey", "-in", folder / "service-accounts.key", "-pubout", "-out", public])
    _make_key(folder / "ca.key")
    usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"]
    request: list[str | Path] = [
        "openssl",
        "req",
        "-x509",
        "-new",
        "-key",
        folder / "ca.key",
        "-days",
        DAYS,
    ]
    run([*request, "-subj", "/CN=trimtab-ca", *usage, "-out", folder / "ca.crt"])
    for part, subject in SUBJECTS.items():
        _make_certificate(folder, part, subject)
        if part not in WITHOUT_KUBECONFIG and part != "admin":
            write_kubeconfig(settings, part, folder / f"{part}.kubeconfig")
    write_kubeconfig(settings, "admin", settings.kubeconfig)


def _make_key(path: Path) -> None:
    curve = ["-pkeyopt", "ec_paramgen_curve:P-256"]
    run(["openssl", "genpkey", "-algorithm", "EC", *curve, "-out", path])


def _make_certificate(folder: Path, part: str, subject: str) -> None:
    key, extensions = folder / f"{part}.key", folder / f"{part}.ext"
    _make_key(key)
    lines = ["keyUsage=critical,digitalSignature", "extendedKeyUsage=serverAuth,clientAuth"]
    if part in ("apiserver", NODE):
        lines.append(f"subjectAltName={SERVER_NAMES}")
    extensions.write_text("\n".join(lines))
    request = run(["openssl", "req", "-new", "-key", key, "-subj", subject])
    authority: list[str | Path] = [
        "-CA",
        folder / "ca.crt",
        "-CAkey",
        folder / "ca.key",
        "-CAcreateserial",
    ]
    command = ["openssl", "x509", "-req", *authority, "-days", DAYS, "-extfile", extensions]
    run([*command, "-out", folder / f"{part}.crt"], input_text=request)


def write_kubeconfig(settings: Settings, user: str, target: Path) -> None:
    """A kubeconfig (JSON is YAML too) with everything it needs inside the one file."""
    folder = settings.certificates

    def encoded(name: str) -> str:
        return base64.b64encode((folder / name).read_bytes()).decode()

    cluster = {"server": API_SERVER, "certificate-authority-data": encoded("ca.crt")}
    identity = {
        "client-certificate-data": encoded(f"{user}.crt"),
        "client-key-data": encoded(f"{user}.key"),
    }
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": settings.name, "cluster": cluster}],
        "users": [{"name": user, "user": identity}],
        "contexts": [{"name": settings.name, "context": {"cluster": settings.name, "user": user}}],
        "current-context": settings.name,
    }
    target.write_text(json.dumps(document))
    target.chmod(0o600)
