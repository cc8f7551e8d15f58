"""The parts of a node and what each is started with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .settings import (
    DNS_DOMAIN,
    NODE,
    NODE_ADDRESS,
    POD_RANGE,
    SERVICE_RANGE,
    Settings,
)

ETCD = "http://127.0.0.1:2379"
PAUSE_IMAGE = "localhost/pause:1"


def etcd_command(settings: Settings) -> list[str]:
    """etcd without fsync: what it holds does not outlive the cluster."""
    peers = "http://127.0.0.1:2380"
    return [
        "etcd",
        f"--data-dir={settings.state / 'etcd'}",
        f"--listen-client-urls={ETCD}",
        f"--advertise-client-urls={ETCD}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        "--unsafe-no-fsync",
    ]


def apiserver_command(settings: Settings, kubernetes: Path) -> list[str]:
    pki = settings.certificates
    flags: dict[str, str | Path] = {
        "etcd-servers": ETCD,
        "advertise-address": NODE_ADDRESS,
        "secure-port": "6443",
        "service-cluster-ip-range": SERVICE_RANGE,
        "allow-privileged": "true",
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "client-ca-file": pki / "ca.crt",
        "tls-cert-file": pki / "apiserver.crt",
        "tls-private-key-file": pki / "apiserver.key",
        "cert-dir": settings.state / "apiserver",
        "service-account-issuer": f"https://kubernetes.default.svc.{DNS_DOMAIN}",
        "service-account-key-file": pki / "service-accounts.pub",
        "service-account-signing-key-file": pki / "service-accounts.key",
        "kubelet-certificate-authority": pki / "ca.crt",
        "kubelet-client-certificate": pki / "kubelet-client.crt",
        "kubelet-client-key": pki / "kubelet-client.key",
        "kubelet-preferred-address-types": "InternalIP",
        "requestheader-client-ca-file": pki / "ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "proxy-client-cert-file": pki / "front-proxy.crt",
        "proxy-client-key-file": pki / "front-proxy.key",
    }
    return _command(kubernetes, "apiserver", flags)


def controller_manager_command(settings: Settings, kubernetes: Path) -> list[str]:
    pki = settings.certificates
    kubeconfig = pki / "controller-manager.kubeconfig"
    flags: dict[str, str | Path] = {
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "use-service-account-credentials": "true",
        "leader-elect": "false",
        "allocate-node-cidrs": "false",
        "cluster-cidr": POD_RANGE,
        "root-ca-file": pki / "ca.crt",
        "service-account-private-key-file": pki / "service-accounts.key",
        "cert-dir": settings.state / "controller-manager",
    }
    return _command(kubernetes, "controller-manager", flags)


def scheduler_command(settings: Settings, kubernetes: Path) -> list[str]:
    kubeconfig = settings.certificates / "scheduler.kubeconfig"
    flags: dict[str, str | Path] = {
        "kubeconfig": kubeconfig,
        "authentication-kubeconfig": kubeconfig,
        "authorization-kubeconfig": kubeconfig,
        "leader-elect": "false",
        "cert-dir": settings.state / "scheduler",
    }
    return _command(kubernetes, "scheduler", flags)


def kubelet_command(settings: Settings, kubernetes: Path) -> list[str]:
    pki = settings.certificates
    resolver = settings.state / "resolv.conf"
    resolver.write_text("")
    configuration = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{settings.containerd_socket}",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(pki / f"{NODE}.crt"),
        "tlsPrivateKeyFile": str(pki / f"{NODE}.key"),
        "clusterDNS": [NODE_ADDRESS],
        "clusterDomain": DNS_DOMAIN,
        "resolvConf": str(resolver),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{settings.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "evictionHard": {"memory.available": "200Mi"},
        "imageGCHighThresholdPercent": 100,  # images are imported, and could not be pulled again
        "imageGCLowThresholdPercent": 99,
        "oomScoreAdj": 0,  # a negative one needs a capability that containers lack
        "maxPods": 250,
        "volumePluginDir": str(settings.state / "kubelet" / "volume-plugins"),
    }
    flags: dict[str, str | Path] = {
        "config": _write(settings, "kubelet.json", configuration),
        "kubeconfig": pki / f"{NODE}.kubeconfig",
        "hostname-override": NODE,
        "node-ip": NODE_ADDRESS,
        "root-dir": settings.state / "kubelet",
        "cert-dir": settings.state / "kubelet" / "pki",
    }
    return _command(kubernetes, "kubelet", flags)


def proxy_command(settings: Settings, kubernetes: Path) -> list[str]:
    kubeconfig = settings.certificates / "proxy.kubeconfig"
    configuration = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "hostnameOverride": NODE,
        "clusterCIDR": POD_RANGE,
        "mode": "iptables",
        "oomScoreAdj": 0,
        "conntrack": {  # these limits belong to the whole machine
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }
    return _command(kubernetes, "proxy", {"config": _write(settings, "proxy.json", configuration)})


def coredns_command(settings: Settings, coredns: Path) -> list[str]:
    """CoreDNS on the node's address: pods get it as their resolver."""
    corefile = settings.state / "Corefile"
    corefile.write_text(
        f""".:53 {{
    bind {NODE_ADDRESS}
    errors
    ready {NODE_ADDRESS}:8181
    kubernetes {DNS_DOMAIN} in-addr.arpa {{
        kubeconfig {settings.certificates / "coredns.kubeconfig"}
        ttl 5
    }}
    cache 5
}}
"""
    )
    return [str(coredns), "-conf", str(corefile)]


def containerd_command(settings: Settings) -> list[str]:
    state = settings.state
    (state / "cni.d").mkdir(exist_ok=True)
    (state / "cni.d" / "10-pods.conflist").write_text(json.dumps(_pod_network(settings)))
    file = state / "containerd.toml"
    file.write_text(
        f"""version = 2
root = "{state / "containerd"}"
state = "{state / "containerd-run"}"
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = "{settings.containerd_socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{state / "cni.d"}"
"""
    )
    return ["containerd", "--config", str(file)]


def _pod_network(settings: Settings) -> dict[str, Any]:
    """One routed pair of devices per pod: works without the kernel's bridge filter."""
    addresses = {
        "type": "host-local",
        "dataDir": str(settings.state / "addresses"),
        "ranges": [[{"subnet": POD_RANGE}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {"type": "ptp", "ipMasq": False, "ipam": addresses},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _command(kubernetes: Path, part: str, flags: Mapping[str, str | Path]) -> list[str]:
    return [str(kubernetes), part, *[f"--{name}={value}" for name, value in flags.items()]]


def _write(settings: Settings, name: str, document: dict[str, Any]) -> Path:
    path = settings.state / name
    path.write_text(json.dumps(document, indent=2))
    return path
