# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real Debian of an IDE machine: its initramfs has IDE's driver and none of virtio, its kernel none of AHCI.

It serves what it has mounted by HTTP, and says on its serial console when it does.
"""
from __future__ import annotations

import pathlib
import subprocess
import tempfile
from collections.abc import Mapping

from ansible_collections.tandem.hybrid.plugins.module_utils.lab import guest
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.cache import Artifact, tree_digest
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.packages import root_file_system

READY = "conversion guest is up"
DISKS = ("ide-root.qcow2", "ide-data.qcow2")
ROOT_MIB, DATA_MIB = 1536, 64
PACKAGES = ("linux-image-cloud-amd64", "systemd-sysv", "initramfs-tools", "udev", "dbus", "grub2-common", "grub-pc-bin", "busybox", "zstd")
INITRAMFS_MODULES = ("ata_piix", "ata_generic", "sd_mod", "ext4")
FILES = {
    "etc/fstab": "LABEL=legacyroot / ext4 errors=remount-ro 0 1\nLABEL=legacydata /data ext4 defaults 0 2\n",
    "etc/systemd/network/80-dhcp.network": "[Match]\nType=ether\n[Network]\nDHCP=ipv4\n",
    "etc/systemd/system/report.service": "\n".join((
        "[Unit]", "After=local-fs.target systemd-networkd.service", "[Service]",
        "ExecStartPre=/bin/sh -c 'mkdir -p /run/www; findmnt -rno SOURCE,TARGET -t ext4 >/run/www/index.html'",
        "ExecStart=/bin/busybox httpd -f -p 80 -h /run/www", f"ExecStartPost=/bin/sh -c 'echo {READY} >/dev/ttyS0'", "[Install]",
        "WantedBy=multi-user.target", "")),
    "etc/default/grub": 'GRUB_DEFAULT=0\nGRUB_TIMEOUT=0\nGRUB_CMDLINE_LINUX="console=ttyS0 root=LABEL=legacyroot"\n',
}
UNITS = {"report.service": "/etc/systemd/system/report.service", "systemd-networkd.service": "/lib/systemd/system/systemd-networkd.service"}


def conversion_guest() -> Artifact:
    """The disks of the guest as an artefact of the lab's cache (needs root)."""

    def build(out: pathlib.Path, needs: Mapping[str, pathlib.Path]) -> None:
        with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
            work = pathlib.Path(scratch)
            raw, system = work / "disk.raw", _system(work)
            guest._root_disk(work, raw, guest.Guest("legacy-ide", root_mib=ROOT_MIB), system)
            guest._qcow2(raw, out / DISKS[0])
            raw.unlink()
            guest._file_system(raw, "legacydata", DATA_MIB)
            guest._qcow2(raw, out / DISKS[1])

    recipe = tree_digest(pathlib.Path(__file__), pathlib.Path(guest.__file__))
    return Artifact("conversion-guest", {"recipe": recipe}, build)


def _system(work: pathlib.Path) -> pathlib.Path:
    root, archive = work / "root", work / "rootfs.tar"
    root_file_system(archive, guest.SUITE, PACKAGES)
    root.mkdir()
    _run("tar", "--extract", f"--directory={root}", f"--file={archive}")
    archive.unlink()
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name, target in UNITS.items():
        (root / "etc/systemd/system/multi-user.target.wants").mkdir(parents=True, exist_ok=True)
        (root / "etc/systemd/system/multi-user.target.wants" / name).symlink_to(target)
    (root / "data").mkdir()
    (root / "etc/initramfs-tools/modules").write_text("".join(f"{name}\n" for name in INITRAMFS_MODULES))
    configuration = root / "etc/initramfs-tools/initramfs.conf"
    configuration.write_text(configuration.read_text().replace("MODULES=most", "MODULES=list"))
    (kernel,) = (root / "boot").glob("vmlinuz-*")
    version = kernel.name.removeprefix("vmlinuz-")
    _run("chroot", str(root), "update-initramfs", "-u", "-k", version)
    boot = root / "boot/grub"
    boot.mkdir(exist_ok=True)
    _run("cp", "-r", f"{root}/usr/lib/grub/i386-pc", str(boot))  # virt-v2v has GRUB's configuration made anew, which loads more of its modules
    (boot / "grub.cfg").write_text(f"serial\nterminal_output serial\nset timeout=0\nmenuentry Debian {{\n  linux /boot/{kernel.name} root=LABEL=legacyroot ro"
                                   f" console=ttyS0\n  initrd /boot/initrd.img-{version}\n}}\n")
    return root


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
