# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The images of KubeVirt and CDI under upstream's own names, on one Debian base layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible_collections.tandem.hybrid.plugins.module_utils.lab import layer, oci
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.build import Go
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.cache import Artifact, tree_digest
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.kubevirt_build import Upstream
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.layer import Directory, Entry, File, Link
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.packages import root_file_system

BASE_SUITE = "trixie"
# What virt-launcher and virt-handler, CDI's importer and the mover call. Python and libnbd-bin are the mover's, curl is for probes.
BASE_PACKAGES = (
    *(
        "libvirt-daemon",
        "libvirt-daemon-driver-qemu",
        "libvirt-daemon-log",
        "libvirt-clients",
        "qemu-system-x86",
    ),
    *("qemu-utils", "ovmf", "seabios", "swtpm-tools", "passt", "nftables", "netcat-openbsd", "procps", "tar"),
    *("virtiofsd", "xorriso", "iproute2", "findutils", "util-linux", "libcap2-bin", "kmod", "nbdkit"),
    *("ca-certificates", "xz-utils", "python3", "libnbd-bin", "curl"),
    *("python3-zstandard", "python3-lz4"),  # to look into a guest's initramfs
)
_QEMU = 107
_NONROOT = b"root:x:0:0::/:/sbin/nologin\nnonroot:x:1001:1001::/tmp:/sbin/nologin\n"
_IMPORTER = (
    *("cdi-importer", "openstack-populator", "ovirt-populator", "cdi-image-size-detection"),
    *("cdi-containerimage-server", "cdi-source-update-poller"),
)


def debian_base() -> Artifact:
    """The Debian root file system (rootfs.tar) below all images that run more than one static binary."""

    def build(out: Path, needs: Mapping[str, Path]) -> None:
        root_file_system(out / "rootfs.tar", BASE_SUITE, BASE_PACKAGES)

    return Artifact("debian-base", {"suite": BASE_SUITE, "packages": " ".join(BASE_PACKAGES)}, build)


def platform_images(
    sources: Path, rooms: Path, go: Go, base: Artifact, kubevirt: Artifact, cdi: Artifact
) -> Artifact:
    """All images of KubeVirt and CDI, the GPU hook and a tool box in one archive, image.tar."""
    files = sources / "images"

    def build(out: Path, needs: Mapping[str, Path]) -> None:
        root, names = needs[base.name] / "rootfs.tar", Upstream(go)
        images = [
            *_kubevirt(names, needs[kubevirt.name], files, root),
            *_cdi(names, needs[cdi.name], root),
            _gpu_shim(needs[kubevirt.name], files, root),
            oci.Image("tandem.local/tools:1", base=[root], cmd=["sh"], user="65532:65532"),
        ]
        oci.write_archive(out / "image.tar", images)

    recipe = (rooms / "lab" / f"{name}.py" for name in ("platform_images", "layer", "oci"))
    inputs = {"sources": tree_digest(files, *recipe)}
    return Artifact("platform-images", inputs, build, needs=(base, kubevirt, cdi))


def _kubevirt(names: Upstream, built: Path, sources: Path, root: Path) -> list[oci.Image]:
    binaries = built / "bin"
    small = [
        _small(names.kubevirt(name), binaries / name, [f"/usr/bin/{name}"])
        for name in ("virt-operator", "virt-api", "virt-controller")
    ]
    users = _qemu_user(root)
    launcher = oci.Image(
        names.kubevirt("virt-launcher"),
        base=[root],
        files=[*users, *_launcher(binaries, built / "share", sources)],
        entrypoint=["/usr/bin/virt-launcher"],
    )
    handler = oci.Image(
        names.kubevirt("virt-handler"),
        base=[root],
        files=[*users, *_programs(binaries, ["virt-handler", "virt-chroot"])],
        entrypoint=["/usr/bin/virt-handler"],
    )
    return [*small, launcher, handler]


def _qemu_user(root: Path) -> list[Entry]:
    """The user that KubeVirt runs VMs as, and /var/run as it needs it."""
    passwd = layer.read_member(root, "./etc/passwd") + b"qemu:x:107:107::/home/qemu:/bin/bash\n"
    group = layer.read_member(root, "./etc/group") + b"qemu:x:107:\n"
    return [
        File("etc/passwd", content=passwd),
        File("etc/group", content=group),
        Link("var/run", "../run"),  # relative: virt-handler follows it through /proc/PID/root
    ]


def _launcher(binaries: Path, share: Path, sources: Path) -> list[Entry]:
    programs = [
        "virt-launcher",
        "virt-probe",
        "virt-tail",
        "virt-freezer",
        "container-disk",
        "libvirt-hook-client",
    ]
    monitor = binaries / "virt-launcher-monitor"
    firmware = {  # Debian ships the 4 MiB builds only
        "OVMF_CODE.fd": "OVMF_CODE_4M.fd",
        "OVMF_VARS.fd": "OVMF_VARS_4M.fd",
        "OVMF_CODE.secboot.fd": "OVMF_CODE_4M.secboot.fd",
        "OVMF_VARS.secboot.fd": "OVMF_VARS_4M.ms.fd",
    }
    return [
        *_programs(binaries, programs),
        File("usr/bin/virt-launcher-monitor", monitor, mode=0o755, capability=layer.NET_BIND_SERVICE),
        File("usr/bin/node-labeller.sh", sources / "node-labeller.sh", mode=0o755),
        File("usr/libexec/node-labeller.sh", share / "node-labeller.sh", mode=0o755),
        File("usr/sbin/virtqemud", sources / "virtqemud", mode=0o755),
        File("etc/libvirt/qemu.conf", share / "qemu.conf"),
        File("etc/libvirt/virtqemud.conf", share / "virtqemud.conf"),
        File("etc/libvirt/hooks/qemu", share / "qemu", mode=0o755, owner=_QEMU),
        Directory("home/qemu", owner=_QEMU),
        Directory("usr/lib64/qemu-kvm"),
        *(Link(f"usr/share/OVMF/{name}", target) for name, target in firmware.items()),
    ]


def _cdi(names: Upstream, built: Path, root: Path) -> list[oci.Image]:
    binaries = built / "bin"
    start = File("usr/bin/cloner_startup.sh", built / "share" / "cloner_startup.sh", mode=0o755)

    def based(name: str, programs: Sequence[str], entrypoint: Sequence[str], *more: Entry) -> oci.Image:
        files = [*_programs(binaries, programs), *more]
        return oci.Image(names.cdi(name), base=[root], files=files, entrypoint=entrypoint, user="1001")

    def logging(name: str) -> list[str]:
        return [f"/usr/bin/{name}", "-alsologtostderr"]

    return [
        _small(names.cdi("cdi-operator"), binaries / "cdi-operator", ["/usr/bin/cdi-operator"]),
        *(
            _small(names.cdi(name), binaries / name, logging(name))
            for name in ("cdi-apiserver", "cdi-uploadproxy")
        ),
        # its readiness probe runs `cat`, so it can't be without a user space
        based("cdi-controller", ["cdi-controller"], logging("cdi-controller")),
        based("cdi-importer", _IMPORTER, logging("cdi-importer")),
        based("cdi-uploadserver", ["cdi-uploadserver"], logging("cdi-uploadserver")),
        based("cdi-cloner", ["cdi-cloner"], ["/usr/bin/cloner_startup.sh"], start),
    ]


def _gpu_shim(built: Path, sources: Path, root: Path) -> oci.Image:
    files = [
        File("sidecar-shim", built / "bin" / "sidecars", mode=0o755),
        File("usr/bin/onDefineDomain", sources / "onDefineDomain", mode=0o755),
    ]
    return oci.Image(
        "tandem.local/gpu-shim:1", base=[root], files=files, entrypoint=["/sidecar-shim"], user="1001"
    )


def _small(name: str, binary: Path, entrypoint: Sequence[str]) -> oci.Image:
    files = [
        File(f"usr/bin/{binary.name}", binary, mode=0o755),
        File("etc/passwd", content=_NONROOT),
        Directory("tmp", mode=0o1777),
    ]
    return oci.Image(name, files=files, entrypoint=entrypoint, user="1001")


def _programs(binaries: Path, names: Sequence[str]) -> list[Entry]:
    return [File(f"usr/bin/{name}", binaries / name, mode=0o755) for name in names]
