# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  dest:
    description: Path of the Verification document that gets the outcome; it is made if absent.
    type: path
seealso:
  - module: tandem.hybrid.verification_info
"""

    JOB = r"""
options:
  script:
    description:
      - Path of a Python script (standard library only) that leaves one JSON object in C(/dev/termination-log), with C(ok) and C(sentence).
    type: path
    required: true
  image:
    description: Image that has C(python3).
    type: str
    required: true
  namespace:
    description: Namespace of the Job.
    type: str
    required: true
notes:
  - A run ends what an earlier run of the same check, one with the same name and subject in this namespace, has left in the cluster because it
    was killed. So run a check once at a time.
"""
