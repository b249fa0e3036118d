# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.marks import METADATA_URI, metadata, unmarked

PLAIN = """<domain type='kvm'>
  <name>orders</name>
  <devices>
    <disk type='file' device='disk'>
      <source file='/disks/orders.qcow2'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <interface type='user'/>
  </devices>
</domain>
"""
FENCED = PLAIN.replace("  <devices>", f"""  <metadata>
    <tandem:source xmlns:tandem="{METADATA_URI}" power="running" autostart="yes"/>
  </metadata>
  <devices>""").replace("    <interface", """    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='/tandem-fence/moved-to-shop.orders'/>
      <target dev='vdzz' bus='virtio'/>
    </disk>
    <interface""")


def test_a_fenced_domain_reads_as_what_it_was():
    assert unmarked(FENCED) == (PLAIN, {"power": "running", "autostart": "yes"})


def test_an_unmarked_domain_is_left_alone():
    assert unmarked(PLAIN) == (PLAIN, {})


def test_metadata_of_others_stays():
    others = FENCED.replace("  </metadata>", "    <other:thing xmlns:other='urn:x'/>\n  </metadata>")
    text, _remembered = unmarked(others)
    assert "other:thing" in text
    assert "tandem" not in text


def test_what_is_remembered():
    assert metadata("off", False) == "<source power='off' autostart='no'/>"
