# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole disks of guests and the answers they get."""
from __future__ import annotations

import gzip
import json
from dataclasses import asdict

import pytest
from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.look import look
from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.rules import DRIVERS, LINUX, WINDOWS
from fitness_images import MIB, VIRTIO, archive, ext, fat, gpt, mbr

VERSION = "6.1.0-9-amd64"
NTFS = b"\xeb\x52\x90NTFS    ".ljust(510, b"\0") + b"\x55\xaa" + bytes(MIB - 512)
OTHER = bytes(0x10040) + b"_BHRfS_M" + bytes(MIB - 0x10048)


def asked(disk, bus="virtio"):
    return look(lambda offset, length: disk[offset:offset + length], len(disk), bus)


def boot(drivers, version=VERSION, pack=gzip.compress, **more):
    """Files of /boot as Debian names them."""
    return {f"vmlinuz-{version}": b"kernel", f"initrd.img-{version}": pack(archive(drivers)), **more}


def under(directory, files):
    return {f"{directory}/{name}": content for name, content in files.items()}


def test_rules_name_known_drivers_and_every_bus():
    assert set(LINUX) == set(WINDOWS)
    assert {name for names in LINUX.values() for name in names} <= set(DRIVERS)


def test_a_linux_that_has_the_drivers_is_ready(tmp_path):
    found = asked(mbr(ext(tmp_path, under("boot", boot(VIRTIO)))))
    assert (found.verdict, found.table, found.partitions, found.kernel, found.initramfs) == (
        "ready", "mbr", ["1: ext, 8 MiB"], VERSION, f"/boot/initrd.img-{VERSION}")
    assert found.sentence == f"Linux {VERSION} has virtio_pci, virtio_blk in /boot/initrd.img-{VERSION} or built in"


@pytest.mark.parametrize("known", [{f"boot/config-{VERSION}": b"CONFIG_EXT4_FS=y\nCONFIG_VIRTIO_BLK=m\n# CONFIG_SATA_AHCI is not set\n"},
                                   {f"lib/modules/{VERSION}/modules.builtin": b"kernel/fs/ext4/ext4.ko\n"},
                                   {f"usr/lib/modules/{VERSION}/modules.builtin": b"kernel/fs/ext4/ext4.ko\n"}])
def test_a_linux_that_lacks_them_needs_another_initramfs(tmp_path, known):
    found = asked(gpt(ext(tmp_path, under("boot", boot(["ata_piix", "sd_mod"])) | known)))
    assert (found.verdict, found.compatible) == ("rebuild", False)
    assert found.sentence == f"/boot/initrd.img-{VERSION} of Linux {VERSION} lacks virtio_pci, virtio_blk"


def test_whether_it_would_start_from_sata_is_told(tmp_path):
    files = under("boot", boot(["ahci", "sd_mod"], **{f"config-{VERSION}": b"CONFIG_EXT4_FS=y\n"}))
    assert (asked(ext(tmp_path, files)).verdict, asked(ext(tmp_path, files)).compatible) == ("rebuild", True)
    assert asked(ext(tmp_path, files), "sata").verdict == "ready"


def test_nothing_tells_what_is_built_in(tmp_path):
    found = asked(ext(tmp_path, under("boot", boot(["ahci"]))))
    assert (found.verdict, found.compatible) == ("unknown", None)
    assert "unless they are built in, which nothing tells" in found.sentence


@pytest.mark.parametrize("known", [{f"boot/config-{VERSION}": b"CONFIG_VIRTIO_BLK=y\nCONFIG_VIRTIO_PCI=y\n"},
                                   {f"lib/modules/{VERSION}/modules.builtin": b"kernel/drivers/block/virtio_blk.ko\nkernel/drivers/virtio/virtio_pci.ko\n"}])
def test_what_is_built_in_needs_no_initramfs(tmp_path, known):
    found = asked(ext(tmp_path, {f"boot/vmlinuz-{VERSION}": b"kernel", **known}))
    assert (found.verdict, found.initramfs) == ("ready", "")
    assert asked(ext(tmp_path, {f"boot/vmlinuz-{VERSION}": b"kernel", **known}), "scsi").verdict == "rebuild"


def test_the_initramfs_itself_may_tell_what_is_built_in(tmp_path):
    packed = gzip.compress(archive(["virtio_blk"], builtin=["virtio_pci", "ahci"]))
    files = {f"vmlinuz-{VERSION}": b"", f"initramfs-{VERSION}.img": packed}
    assert asked(ext(tmp_path, under("boot", files))).verdict == "ready"
    assert (asked(ext(tmp_path, under("boot", files)), "scsi").verdict) == "rebuild"


def test_a_file_system_of_its_own_for_boot_beside_one_that_is_not_read(tmp_path):
    found = asked(gpt(fat({"EFI/debian/grubx64.efi": b"x"}), ext(tmp_path, boot(VIRTIO)), OTHER))
    assert (found.verdict, found.initramfs) == ("ready", f"/initrd.img-{VERSION}")
    assert found.partitions == ["1: FAT, 2 MiB", "2: ext, 8 MiB", "3: btrfs, 1 MiB"]


def test_a_kernel_on_fat():
    assert asked(mbr(fat(under("boot", {"vmlinuz": b"x", "initramfs.img": gzip.compress(archive(VIRTIO))})))).verdict == "ready"


def test_modules_numbered_in_their_order(tmp_path):
    packed = gzip.compress(archive([f"{number:02d}-{name}" for number, name in enumerate(VIRTIO)], form="modules/{}.ko"))
    assert asked(mbr(ext(tmp_path, {"boot/vmlinuz": b"", "boot/initrd.img": packed})), "scsi").verdict == "ready"


def test_the_newest_kernel_counts_and_no_spare_one(tmp_path):
    config = {f"config-{VERSION}": b"CONFIG_EXT4_FS=y\n"}
    old, spare = boot(VIRTIO, "6.1.0-8-amd64"), {"vmlinuz-0-rescue-1": b"", "initramfs-0-rescue-1.img": b"", "initramfs-7.0kdump.img": b"",
                                                f"initrd.img-{VERSION}.dpkg-bak": b""}
    files = under("boot", old | boot(["ahci"], **config) | spare)
    assert (asked(ext(tmp_path, files)).kernel, asked(ext(tmp_path, files)).verdict) == (VERSION, "rebuild")
    newer = under("boot", boot(["ahci"], "6.1.0-9-amd64") | boot(VIRTIO, "6.1.0-10-amd64"))
    assert (asked(ext(tmp_path, newer)).kernel, asked(ext(tmp_path, newer)).verdict) == ("6.1.0-10-amd64", "ready")


def test_an_initramfs_that_is_not_read_is_unknown(tmp_path):
    found = asked(ext(tmp_path, under("boot", boot([], pack=lambda data: b"\x89LZO" + data))))
    assert (found.verdict, found.compatible) == ("unknown", None)
    assert found.sentence.startswith(f"/boot/initrd.img-{VERSION}: a part of it is neither")


@pytest.mark.parametrize(("bus", "verdict"), [("virtio", "convert"), ("scsi", "convert"), ("sata", "ready")])
@pytest.mark.parametrize("disk", [mbr(NTFS, NTFS), gpt(fat({"EFI/Microsoft/Boot/bootmgfw.efi": b"x"}), b"\0\0\0-FVE-FS-" + bytes(MIB - 11))])
def test_windows(disk, bus, verdict):
    assert asked(disk, bus).verdict == verdict


@pytest.mark.parametrize(("disk", "sentence"), [
    (bytes(MIB), "nothing on the disk is known"), (b"", "a partition starts at 0, the disk has 0 bytes"),
    (mbr(OTHER), "no kernel was found on what can be read; the disk has btrfs"),
    (gpt(NTFS, OTHER), "no kernel was found on what can be read; the disk has NTFS, btrfs")])
def test_what_is_not_known_says_what_is_there(disk, sentence):
    found = asked(disk)
    assert (found.verdict, found.sentence) == ("unknown", sentence)


def test_a_damaged_file_system_says_so(tmp_path):
    image = bytearray(ext(tmp_path, {}))
    image[1024 + 40:1024 + 44] = bytes(4)
    assert asked(bytes(image)).sentence == "the superblock of its ext file system makes no sense"


def test_names_from_the_disk_are_printable_and_the_answer_is_short(tmp_path):
    version = "6\x1b[31m\u00e9" + "9" * 200
    files = under("boot", {f"vmlinuz-{version}": b"", f"initrd.img-{version}": b"junk"})
    answer = json.dumps(asdict(asked(gpt(*[ext(tmp_path, files, 4)] + [OTHER] * 40))))
    assert "\\u" not in answer
    assert len(answer) < 1600
