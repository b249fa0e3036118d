# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A wave of small VMs that are files, and what its journal says of how many were on their way at once."""
from __future__ import annotations

import json
import os
import pathlib
import random
import subprocess
import sys
import uuid
from collections import Counter
from datetime import datetime

MIB = 1 << 20
ROOT = pathlib.Path(__file__).resolve().parents[2]


class Wave:
    """`count` VMs of one raw disk, from two hosts and two datastores, to the given nodes; left halted once their copies are verified."""

    def __init__(self, folder, kubeconfig, source, nodes, count, mebibytes=16):
        from ansible_collections.tandem.hybrid.plugins.module_utils.documents import codec, files
        from ansible_collections.tandem.hybrid.plugins.module_utils.documents.estate import Disk, Estate, LegacyVm
        from ansible_collections.tandem.hybrid.plugins.module_utils.documents.plan import Assignment, Plan

        self.folder, self._kubeconfig, self._source = folder, kubeconfig, source
        vms = []
        for number in range(count):
            file = folder / f"vm{number:02}.raw"
            file.write_bytes(os.urandom(mebibytes * MIB // 2))
            os.truncate(file, mebibytes * MIB)
            vms.append(LegacyVm(name=f"vm{number:02}", id=f"file/vm{number:02}", source=str(folder), host=f"hv-{number % 2}", hypervisor="qemu",
                                datastores=[f"store-{number % 4 // 2}"], target_name=f"vm{number:02}", power_state="off", memory_bytes=64 * MIB,
                                disks=[Disk(id="vda", size_bytes=mebibytes * MIB, format="raw", source=str(file))]))
        self.places = {vm.name: {("total", ""), ("per_host", vm.host), ("per_datastore", vm.datastores[0]), ("per_node", nodes[number % len(nodes)]),
                                 ("per_link", f"{vm.host} {nodes[number % len(nodes)]}")}
                       for number, vm in enumerate(vms)}
        plan = [Assignment(vm.name, "vm", 0, nodes[number % len(nodes)], "") for number, vm in enumerate(vms)]
        files.write(str(folder / "estate.json"), codec.pretty(Estate(vms)))
        files.write(str(folder / "plan.json"), codec.pretty(Plan("", "", plan)))

    def run(self, caps, storage_class):
        """Migrate all into a namespace of their own; returns its name and the journal's events."""
        from ansible_collections.tandem.hybrid.plugins.module_utils.documents.codec import loads
        from ansible_collections.tandem.hybrid.plugins.module_utils.documents.journal import Journal, check

        namespace = f"tandem-wave-{uuid.uuid4().hex[:6]}"
        variables = self.folder / f"{namespace}.json"
        variables.write_text(json.dumps({
            "tandem_directory": str(self.folder), "tandem_kubeconfig": str(self._kubeconfig), "migration_namespace": namespace,
            "migration_storage_map": [{"source": "*", "storage_class": storage_class}], "migration_start": False, "migration_caps": caps,
            "migration_journal": str(self.folder / f"{namespace}.journal.json"), "migration_exporter_address": self._source["address"],
            "migration_exporter_certificates": self._source["certificates"],
            "migration_exporter_port": random.Random(namespace).randrange(690, 1180) * 16}))
        command = [pathlib.Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", ROOT / "playbooks" / "migrate.yml", "-e", f"@{variables}"]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=1800, check=False)
        assert done.returncode == 0, done.stdout[-4000:]
        journal = loads(Journal, (self.folder / f"{namespace}.journal.json").read_bytes(), "journal")
        check(journal.events)
        return namespace, journal.events

    def most_at_once(self, events):
        """The highest number of VMs on their way at any moment, in all and by host, datastore and node, as the journal tells."""
        running, most = set(), Counter()
        for event in events:
            if not event.subject:
                continue
            running.add(event.subject)
            now = Counter(place for name in running for place in self.places[name])
            most |= now
            if (event.phase, event.event) == ("accept", "done"):
                running.remove(event.subject)
        found = Counter()
        for (kind, _name), number in most.items():
            found[kind] = max(found[kind], number)
        return found


def seconds(events):
    """From the start of the run to its end."""
    first, last = (datetime.fromisoformat(event.at.replace("Z", "+00:00")) for event in (events[0], events[-1]))
    return (last - first).total_seconds()
