# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks of small legacy guests: boot loader, Debian kernel, busybox, ext4. No loop device, mount or chroot."""

from __future__ import annotations

import gzip
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Template

from ansible_collections.tandem.hybrid.plugins.module_utils.lab import guest_parts, ova
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.cache import Artifact, tree_digest
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.commands import run
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.guest_parts import Member
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.packages import Apt, unpack_debs

SUITE = "bookworm"
KERNEL = "linux-image-amd64"  # Debian's kernel for clouds has no AHCI and no e1000
# virtio for libvirt and KubeVirt; IDE, AHCI, e1000, pvscsi and vmxnet3 for others; button and evdev for the power button.
MODULES = (
    *("virtio_pci", "virtio_blk", "virtio_net", "virtio_scsi", "virtio_rng", "ata_piix", "ahci", "sd_mod"),
    *("e1000", "e1000e", "vmw_pvscsi", "vmxnet3", "button", "evdev", "ext4", "crc32c_generic", "af_packet"),
)
_MIB = 1024 * 1024
# GRUB of Debian 12 can't read these.
_EXT4 = ("-t", "ext4", "-O", "^metadata_csum_seed,^orphan_file")
_GRUB_MODULES = (
    "biosdisk",
    "part_msdos",
    "ext2",
    "linux",
    "normal",
    "configfile",
    "serial",
    "terminal",
    "boot",
)


@dataclass(frozen=True)
class Guest:
    """A guest to build: its host name, whether it has an order service, sizes of its disks in MiB."""

    name: str
    idle: bool = False
    root_mib: int = 512
    data_mib: int = 0


GUESTS = (Guest("orders", data_mib=256), Guest("report", idle=True), Guest("crm", idle=True))
OVA_GUESTS = ("crm",)


def legacy_guests(sources: Path, rooms: Path) -> Artifact:
    """Disks NAME-root.qcow2 and NAME-data.qcow2 of the libvirt guests, NAME.ova of the VMware-like one."""

    def build(out: Path, needs: Mapping[str, Path]) -> None:
        with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
            work = Path(scratch)
            system = _system(work, sources / "guest")
            for guest in GUESTS:
                raw = work / f"{guest.name}.raw"
                _root_disk(work, raw, guest, system)
                if guest.name in OVA_GUESTS:
                    _ova(out, raw, guest, sources / "guest")
                else:
                    _qcow2(raw, out / f"{guest.name}-root.qcow2")
                raw.unlink()
                if guest.data_mib:
                    _file_system(raw, "legacydata", guest.data_mib)
                    _qcow2(raw, out / f"{guest.name}-data.qcow2")
                    raw.unlink()

    recipe = (rooms / "lab" / f"{name}.py" for name in ("guest", "guest_parts", "ova"))
    inputs = {"sources": tree_digest(sources / "guest", *recipe), "suite": SUITE, "kernel": KERNEL}
    return Artifact("legacy-guests", inputs, build)


def _system(work: Path, files: Path) -> Path:
    """The root file system that all guests share, as a directory."""
    apt = Apt(work / "apt", SUITE)
    kernel = next(name for name in apt.depends(KERNEL) if name.startswith("linux-image-"))
    debs, unpacked, root = work / "debs", work / "unpacked", work / "root"
    for directory in (debs, unpacked, root):
        directory.mkdir()
    unpack_debs(apt.download([kernel, "busybox-static"], debs), unpacked)
    busybox = next(path for path in unpacked.rglob("busybox") if path.parent.name == "bin")
    for name in (
        "bin",
        "sbin",
        "etc",
        "proc",
        "sys",
        "dev",
        "tmp",
        "root",
        "boot/grub",
        "var/log",
        "var/lib/ledger",
    ):
        (root / name).mkdir(parents=True)
    (root / "bin/busybox").write_bytes(busybox.read_bytes())
    (root / "bin/busybox").chmod(0o755)
    for applet in run([str(busybox), "--list"]).split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    for name in ("init", "poweroff"):
        (root / "sbin" / name).symlink_to("../bin/busybox")
    _copy(files / "root", root)
    (vmlinuz,) = unpacked.glob("boot/vmlinuz-*")
    (root / "boot/vmlinuz").write_bytes(vmlinuz.read_bytes())
    version = vmlinuz.name.removeprefix("vmlinuz-")
    (root / "boot/initrd.img").write_bytes(_initrd(files / "init", busybox, unpacked, version))
    return root


def _copy(source: Path, target: Path) -> None:
    """Copies the files; what starts with #! becomes executable, whatever way the collection came here."""
    for path in sorted(source.rglob("*")):
        to = target / path.relative_to(source)
        if path.is_dir():
            to.mkdir(exist_ok=True)
            continue
        content = path.read_bytes()
        to.write_bytes(content)
        to.chmod(0o755 if content.startswith(b"#!") else 0o644)


def _initrd(init: Path, busybox: Path, unpacked: Path, version: str) -> bytes:
    run(["depmod", "--basedir", str(unpacked), version])
    modules = unpacked / "lib" / "modules" / version
    order = guest_parts.load_order(
        guest_parts.parse_modules_dep((modules / "modules.dep").read_text()), MODULES
    )
    directories = [
        Member(name, stat.S_IFDIR | 0o755) for name in ("bin", "proc", "sys", "dev", "mnt", "modules")
    ]
    programs = [
        Member("bin/busybox", stat.S_IFREG | 0o755, busybox.read_bytes()),
        Member("bin/sh", stat.S_IFLNK | 0o777, b"busybox"),
        Member("init", stat.S_IFREG | 0o755, init.read_bytes()),
    ]
    drivers = [
        Member(f"modules/{number:02d}-{Path(path).name}", stat.S_IFREG | 0o644, (modules / path).read_bytes())
        for number, path in enumerate(order)
    ]
    return gzip.compress(guest_parts.initramfs([*directories, *programs, *drivers]), compresslevel=1, mtime=0)


def _root_disk(work: Path, raw: Path, guest: Guest, system: Path) -> None:
    """A disk that a BIOS boots: GRUB between the partition table and the only partition."""
    (system / "etc/hostname").write_text(f"{guest.name}\n")
    idle = system / "etc/idle"
    idle.unlink(missing_ok=True)
    if guest.idle:
        idle.touch()
    partition, core = work / "partition.raw", work / "core.img"
    _file_system(partition, "legacyroot", guest.root_mib - 1, system)
    grub = ["grub-mkimage", "-O", "i386-pc", "-o", str(core), "-p", "(hd0,msdos1)/boot/grub"]
    run([*grub, *_GRUB_MODULES])
    with raw.open("wb") as disk:
        disk.write(Path("/usr/lib/grub/i386-pc/boot.img").read_bytes()[:440])
        disk.seek(446)
        disk.write(guest_parts.partition_table(guest.root_mib * _MIB // guest_parts.SECTOR_BYTES))
        disk.write(core.read_bytes())  # sector 1: boot.img and core.img find each other there
    start = guest_parts.PARTITION_START_SECTOR * guest_parts.SECTOR_BYTES
    run(
        [
            "dd",
            f"if={partition}",
            f"of={raw}",
            "bs=1M",
            f"seek={start // _MIB}",
            "conv=notrunc,sparse",
            "status=none",
        ]
    )
    run(["truncate", f"--size={guest.root_mib}M", str(raw)])
    partition.unlink()


def _file_system(raw: Path, label: str, size_mib: int, content: Path | None = None) -> None:
    fill = ["-d", str(content)] if content else []
    eager = "root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0"
    run(["mke2fs", "-q", *_EXT4, "-L", label, "-E", eager, *fill, str(raw), f"{size_mib}M"])


def _qcow2(raw: Path, out: Path) -> None:
    run(["qemu-img", "convert", "-O", "qcow2", str(raw), str(out)])


def _ova(out: Path, raw: Path, guest: Guest, files: Path) -> None:
    vmdk = raw.with_suffix(".vmdk")
    run(["qemu-img", "convert", "-O", "vmdk", "-o", "subformat=streamOptimized", str(raw), str(vmdk)])
    descriptor = Template((files / f"{guest.name}.ovf").read_text())
    ova.write_ova(out / f"{guest.name}.ova", guest.name, descriptor, vmdk, guest.root_mib * _MIB)
    vmdk.unlink()
