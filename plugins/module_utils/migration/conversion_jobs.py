# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of a conversion: a claim for overlays, the Job that runs virt-v2v on them, and the Job that commits them. Pure.

Each disk gets a qcow2 overlay on the verified copy, which virt-v2v only reads. The overlays lie on a claim of their own, for a block claim has no
room for files and a file system that was sized for its disk has hardly any. They stay until they are committed, so a commit that was killed is
done again and comes to the same bytes.
"""
from __future__ import annotations

from xml.etree import ElementTree

from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt.choices import claim_bytes, kept_disks, quantity
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.jobs import GENERATION_LABEL, file_system_claim, pinned_job
from ansible_collections.tandem.hybrid.plugins.module_utils.migration.model import VmTask, kubernetes_name

TRY, CONVERT, COMMIT = "try", "convert", "commit"
KVM = "devices.kubevirt.io/kvm"
GUEST = "tandem.hybrid/guest"
_OVERLAYS, _TEMPORARY = "/overlays", "/tmp"  # noqa: S108 - the mount point of the pod's own volume
_GIB = 1 << 30
# qemu-nbd has no reason to write out what it holds before it ends, which it does a moment after virt-v2v; the end of the container's first process
# would kill it. Once no other process is left the overlays are whole, and then they are flushed.
_SCRIPT = """\
{ virt-v2v-in-place "$@"; echo $? >code; } 2>&1 | tee log
{ virt-v2v-in-place --version; grep -F 'virtio drivers installed' log; tail -n 15 log; } | tail -c 4000 >/dev/termination-log
for second in $(seq 60); do kill -0 -1 2>/dev/null || break; sleep 1; done
if kill -0 -1 2>/dev/null; then echo 'the server of the overlays does not end' | tee /dev/termination-log; exit 1; fi
sync -f /overlays || exit 1
exit "$(cat code)"
"""


def generation(step: str, attempt: int) -> str:
    """Label of the pods of one step; each attempt has its own."""
    return f"{step}-{attempt}"


def overlay_claim(task: VmTask, attempt: int) -> dict:
    """The claim for the overlays: virt-v2v writes a new initramfs or drivers, some 100 MB, and hardly ever a tenth of the disks."""
    size = sum(disk.size_bytes for disk in task.disks)
    return file_system_claim(task, task.rendered.claims[0], kubernetes_name(f"{task.name[:46]}-tandem-overlay-{attempt}"),
                             quantity(claim_bytes(max(min(size, 4 * _GIB), size // 10))))


def guest_xml(task: VmTask) -> str:
    """The guest for virt-v2v: its overlays in the order of its disks, on the buses of the source, by which its fstab may name them."""
    domain = ElementTree.Element("domain", type="kvm")
    ElementTree.SubElement(domain, "name").text = task.name
    ElementTree.SubElement(ElementTree.SubElement(domain, "os"), "type").text = "hvm"
    devices = ElementTree.SubElement(domain, "devices")
    for number, disk in enumerate(kept_disks(task.vm)):
        found = ElementTree.SubElement(devices, "disk", type="file", device="disk")
        ElementTree.SubElement(found, "driver", name="qemu", type="qcow2")
        ElementTree.SubElement(found, "source", file=_overlay(number))
        ElementTree.SubElement(found, "target", dev=f"disk{number}", bus="scsi" if disk.bus == "virtio-scsi" else disk.bus)
    return ElementTree.tostring(domain, "unicode")


def try_job(task: VmTask, attempt: int, kvm: bool) -> dict:
    """The Job that has the image on the planned node, before anything is stopped for it."""
    return _job(task, TRY, attempt, [_container(task, "qemu-img", ["qemu-img", "--version"], []),
                                     {**_converter(task, kvm), "command": ["virt-v2v-in-place", "--version"]}], [])


def convert_job(task: VmTask, attempt: int, kvm: bool) -> dict:
    """The Job that makes new overlays and runs virt-v2v on them; it may be done again as long as none was committed."""
    create = [_container(task, f"overlay-{number}", ["qemu-img", "create", "-q", "-f", "qcow2", "-b", _base(task, number), "-F", "raw", _overlay(number)],
                         [number]) for number in range(len(task.disks))]
    mounts = _disk_mounts(task, range(len(task.disks)), read_only=True)
    convert = {**_converter(task, kvm), "command": ["/bin/sh", "-c", _SCRIPT, "sh"],
               "args": ["--root", "first", "-i", "libvirtxml", "/guest/guest.xml"]}
    convert["volumeMounts"] += [*mounts.pop("volumeMounts"), {"name": "overlays", "mountPath": _OVERLAYS}, {"name": "guest", "mountPath": "/guest"}]
    job = _job(task, CONVERT, attempt, [*create, convert | mounts], range(len(task.disks)))
    template = job["spec"]["template"]
    template["metadata"]["annotations"] = {GUEST: guest_xml(task)}
    template["spec"]["volumes"].append({"name": "guest", "downwardAPI": {"items": [
        {"path": "guest.xml", "fieldRef": {"fieldPath": f"metadata.annotations['{GUEST}']"}}]}})
    job["spec"] |= {"activeDeadlineSeconds": task.settings.conversion_timeout_seconds, "backoffLimit": 0}
    return job


def commit_job(task: VmTask, attempt: int) -> dict:
    """The Job that writes the overlays into their disks and keeps them, so that it may be done again."""
    disks = range(len(task.disks))
    return _job(task, COMMIT, attempt, [_container(task, f"commit-{number}", ["qemu-img", "commit", "-q", "-d", _overlay(number)], [number])
                                        for number in disks], disks)


def _job(task: VmTask, step: str, attempt: int, containers: list[dict], disks) -> dict:
    volumes = [{"name": f"disk-{number}", "persistentVolumeClaim": {"claimName": task.disks[number].claim}} for number in disks]
    if volumes:
        volumes.append({"name": "overlays", "persistentVolumeClaim": {"claimName": overlay_claim(task, attempt)["metadata"]["name"]}})
    name = generation(step, attempt)
    containers = [{"terminationMessagePolicy": "FallbackToLogsOnError", **container} for container in containers]
    return pinned_job(task, kubernetes_name(f"{name}-{task.name}"), {GENERATION_LABEL: name}, containers,
                      [*volumes, {"name": "temporary", "emptyDir": {}}])


def _converter(task: VmTask, kvm: bool) -> dict:
    """The container for virt-v2v, whose libguestfs runs a small VM: on KVM, where it may have it, like any VM of KubeVirt."""
    environment = {"HOME": _TEMPORARY, "LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_CACHEDIR": _TEMPORARY,
                   "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/libexec",  # the last is Red Hat's place for it
                   **({} if kvm else {"LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"})}
    limits = {"memory": "6Gi", **({KVM: "1"} if kvm else {})}
    return {"name": "virt-v2v", "image": task.settings.conversion_image, "workingDir": _TEMPORARY,
            "env": [{"name": name, "value": value} for name, value in environment.items()],
            "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": limits},
            "volumeMounts": [{"name": "temporary", "mountPath": path} for path in (_TEMPORARY, "/var/tmp")]}  # noqa: S108


def _container(task: VmTask, name: str, command: list[str], disks: list[int]) -> dict:
    mounts = _disk_mounts(task, disks, read_only=False)
    if disks:
        mounts["volumeMounts"] += [{"name": "overlays", "mountPath": _OVERLAYS}]
    return {"name": name, "image": task.settings.conversion_image, "command": command,
            "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}, **mounts}


def _disk_mounts(task: VmTask, disks, read_only: bool) -> dict[str, list[dict]]:
    block = {number: task.disks[number].block for number in disks}
    return {"volumeMounts": [{"name": f"disk-{number}", "mountPath": f"/disks/{number}", "readOnly": read_only} for number in disks if not block[number]],
            "volumeDevices": [{"name": f"disk-{number}", "devicePath": _base(task, number)} for number in disks if block[number]]}


def _base(task: VmTask, number: int) -> str:
    return f"/dev/disk-{number}" if task.disks[number].block else f"/disks/{number}/disk.img"


def _overlay(number: int) -> str:
    return f"{_OVERLAYS}/{number}.qcow2"
