# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""make bench-wave: twenty small VMs onto the running full lab, as many at once as caps allow against one at a time; halted after the copy."""
from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from .figures import FULL, ROOT, figure, say

sys.path.insert(0, str(ROOT / "tests" / "shared"))
from migration_wave import Wave, seconds

LAB = pathlib.Path(os.environ.get("TANDEM_LAB", "/var/lib/tandem/lab"))
CAPS = {"total": 6, "per_host": 4, "per_datastore": 4, "per_node": 3, "per_link": 2}
ONE = {"total": 1, "per_host": 0, "per_datastore": 0, "per_node": 0, "per_link": 0}


def main() -> None:
    """Run both, print the figures, remove the namespaces."""
    record = LAB / "source.json"
    if not record.is_file():
        raise SystemExit(f"bench-wave needs the full lab: {record} does not exist (make lab)")
    source, count = json.loads(record.read_text()), 20 if FULL else 8
    kubeconfig = LAB / "pki" / "admin.kubeconfig"
    with tempfile.TemporaryDirectory(prefix="bench-wave-", dir=os.environ.get("BENCH_WORK")) as name:
        wave, took = Wave(pathlib.Path(name), kubeconfig, source, ["lab-1", "lab-2"], count), {}
        for case, caps in (("capped", CAPS), ("one_at_a_time", ONE)):
            say(f"{count} VMs, {case}: {caps}")
            namespace, events = wave.run(caps, "local")
            took[case], most = seconds(events), wave.most_at_once(events)
            subprocess.run([LAB / "bin" / "kubectl", "--kubeconfig", kubeconfig, "delete", "namespace", namespace, "--wait=false"], check=True,
                           stdout=subprocess.DEVNULL)
            figure("wave", f"{case}/{count}", "total", round(took[case], 1), "s", load=os.getloadavg()[0])
            for kind, cap in caps.items():
                if cap and kind in most:
                    figure("wave", f"{case}/{count}", f"most_at_once_{kind}", most[kind], "VMs", f"<= {cap}", most[kind] <= cap)
        factor = round(took["one_at_a_time"] / took["capped"], 2)
        figure("wave", f"capped/{count}", "faster_than_one_at_a_time", factor, "ratio", "> 1", factor > 1)


if __name__ == "__main__":
    main()
