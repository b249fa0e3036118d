# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - Path of the kubeconfig file that says which cluster to use and how.
      - Without it, the file that the environment variable E(KUBECONFIG) names, then C(~/.kube/config),
        then the service account of the pod in which the module runs.
    type: path
  context:
    description:
      - Context of the kubeconfig file.
      - Without it, the file's current context.
    type: str
requirements:
  - kubernetes >= 31 (Python library)
"""
