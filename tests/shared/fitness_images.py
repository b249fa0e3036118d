# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small disks for the tests of this room: ext made by mke2fs, all else by hand, as it must be there on every machine."""
from __future__ import annotations

import os
import shutil
import stat
import struct
import subprocess

from ansible_collections.tandem.hybrid.plugins.module_utils.fitness.disk import Window
from ansible_collections.tandem.hybrid.plugins.module_utils.lab.guest_parts import Member, initramfs

MIB = 1 << 20
VIRTIO = ("virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod")
MKE2FS = shutil.which("mke2fs", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def window(data):
    return Window(lambda offset, length: data[offset:offset + length], len(data))


def archive(drivers=(), builtin=None, form="usr/lib/modules/6.1.0-9/kernel/drivers/{}.ko"):
    """An initramfs with these kernel modules."""
    members = [Member("usr", stat.S_IFDIR | 0o755), Member("usr/bin/sh", stat.S_IFREG | 0o755, b"shell" * 100)]
    members += [Member(form.format(name), stat.S_IFREG | 0o644, name.encode() * 50) for name in drivers]
    if builtin is not None:
        text = "".join(f"kernel/drivers/{name}.ko\n" for name in builtin)
        members.append(Member("usr/lib/modules/6.1.0-9/modules.builtin", stat.S_IFREG | 0o644, text.encode()))
    return initramfs(members)


def ext(folder, files, size_mib=8, kind="ext4", *options):
    """An ext file system with these files (path to bytes)."""
    root, image = folder / "root", folder / "ext.img"
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    root.mkdir(exist_ok=True)
    image.unlink(missing_ok=True)
    subprocess.run([MKE2FS, "-q", "-F", "-t", kind, *options, "-d", root, image, f"{size_mib}M"], check=True, capture_output=True)
    shutil.rmtree(root)
    return image.read_bytes()


def zstd(data):
    """A frame of raw blocks."""
    blocks = [data[at:at + 65536] for at in range(0, len(data), 65536)]
    return b"\x28\xb5\x2f\xfd\x80\x38" + struct.pack("<I", len(data)) + b"".join(
        (len(block) << 3 | (number == len(blocks) - 1)).to_bytes(3, "little") + block for number, block in enumerate(blocks))


def lz4(data):
    """Linux's form: blocks of 8 MiB, here of literals only."""
    count, length = len(data) - 15, b""
    while count >= 255:
        length, count = length + b"\xff", count - 255
    block = b"\xf0" + length + bytes([count]) + data
    return b"\x02\x21\x4c\x18" + struct.pack("<I", len(block)) + block


def mbr(*parts, logical=()):
    """A disk with these partitions (content each), the last of them logical ones."""
    disk, entries, at = bytearray(MIB), [], 2048
    for content in parts:
        entries.append((0x83, at, len(content) // 512))
        disk += content
        at += len(content) // 512
    if logical:
        entries.append((0x05, at, sum(len(content) // 512 + 64 for content in logical)))
        first = at
        for number, content in enumerate(logical):
            record, following = bytearray(64 * 512), at + 64 + len(content) // 512
            table = [(0x83, 64, len(content) // 512)]
            if number < len(logical) - 1:
                table.append((0x05, following - first, 1))
            _table(record, table)
            disk += record + content
            at = following
    _table(disk, entries)
    return bytes(disk)


def _table(sector, entries):
    for number, (kind, start, count) in enumerate(entries):
        struct.pack_into("<B3xB3xII", sector, 446 + 16 * number, 0x80 if not number else 0, kind, start, count)
    sector[510:512] = b"\x55\xaa"


def gpt(*parts, sector=512):
    disk, entries, at = bytearray(MIB), bytearray(128 * 128), MIB
    _table(disk, [(0xEE, 1, 0xFFFFFFFF)])
    struct.pack_into("<8s64xQII", disk, sector, b"EFI PART", 2, 128, 128)
    for number, content in enumerate(parts):
        struct.pack_into("<16s16xQQ", entries, number * 128, b"linux-partition!", at // sector, (at + len(content)) // sector - 1)
        disk += content
        at += len(content)
    disk[2 * sector:2 * sector + len(entries)] = entries
    return bytes(disk)


def fat(files, bits=16, clusters=5000):
    """A FAT file system with these files (path to bytes; one level of directories), long names and clusters of one sector that lie apart."""
    table, data, used = {}, {}, [3]

    def store(content):
        pieces = [content[at:at + 512].ljust(512, b"\0") for at in range(0, len(content), 512)] or [bytes(512)]
        numbers = list(range(used[0], used[0] + 2 * len(pieces), 2))  # every second one
        used[0] += 2 * len(pieces)
        for number, following, piece in zip(numbers, [*numbers[1:], 0x0FFFFFFF], pieces, strict=True):
            table[number], data[number] = following, piece
        return numbers[0]

    def directory(tree):
        found = b""
        for number, (name, content) in enumerate(tree.items()):
            is_directory = isinstance(content, dict)
            cluster = store(directory(content) if is_directory else content)
            found += _long(name) + struct.pack("<8s3sB8xHHHHI", b"FILE%04d" % number, b"BIN", 0x10 if is_directory else 0x20, cluster >> 16, 0, 0,
                                               cluster & 0xFFFF, 0 if is_directory else len(content))
        return found

    tree = {}
    for path, content in files.items():
        *above, name = path.split("/")
        branch = tree
        for part in above:
            branch = branch.setdefault(part, {})
        branch[name] = content
    root = directory(tree)
    entries = bytearray(-(-(clusters + 2) * bits // 8 // 512) * 512)
    root_cluster = store(root) if bits == 32 else 0
    for number, following in table.items():
        if bits == 12:
            at, old = number * 3 // 2, int.from_bytes(entries[number * 3 // 2:number * 3 // 2 + 2], "little")
            value = following & 0xFFF
            entries[at:at + 2] = (old & 0xF | value << 4 if number & 1 else old & 0xF000 | value).to_bytes(2, "little")
        else:
            struct.pack_into("<H" if bits == 16 else "<I", entries, number * bits // 8, following & (0xFFFF if bits == 16 else 0x0FFFFFFF))
    root_entries = 0 if bits == 32 else 512
    total = 32 + len(entries) // 512 + root_entries // 16 + clusters
    boot = bytearray(32 * 512)
    struct.pack_into("<3x8sHBHBHHBHHHII", boot, 0, b"mkfs.fat", 512, 1, 32, 1, root_entries, 0, 0xF8, 0 if bits == 32 else len(entries) // 512,
                     32, 2, 0, total)
    if bits == 32:
        struct.pack_into("<I4xI", boot, 36, len(entries) // 512, root_cluster)
    at = 82 if bits == 32 else 54
    boot[at:at + 8] = f"FAT{bits}".ljust(8).encode()
    boot[510:512] = b"\x55\xaa"
    body = bytearray(clusters * 512)
    for number, piece in data.items():
        body[(number - 2) * 512:(number - 1) * 512] = piece
    return bytes(boot + entries + (b"" if bits == 32 else root.ljust(512 * 32, b"\0")) + body)


def _long(name):
    pieces = [name[at:at + 13] for at in range(0, len(name), 13)]
    found = b""
    for number in range(len(pieces), 0, -1):
        raw = pieces[number - 1].encode("utf-16-le")
        raw = (raw + b"\0\0" if len(raw) < 26 else raw).ljust(26, b"\xff")
        found += bytes([number | (0x40 if number == len(pieces) else 0)]) + raw[:10] + b"\x0f\0\0" + raw[10:22] + b"\0\0" + raw[22:]
    return found
