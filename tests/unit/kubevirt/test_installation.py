# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pathlib

import pytest
import yaml
from ansible_collections.tandem.hybrid.plugins.module_utils.kubevirt.installation import (
    InstallationError,
    Settings,
    cdi,
    hyperconverged,
    kubevirt,
)

CONTRACTS = pathlib.Path(__file__).resolve().parents[3].parent / "shared" / "contracts" / "crds"
DEVICE = {"selector": "10DE:2331", "resource_name": "nvidia.com/GH100_H100_PCIE", "external": True}


def settings(**values):
    return Settings.of({"version": "v1.8.4", **values})


def test_defaults_protect_workloads_and_say_nothing_more_than_needed():
    assert kubevirt(settings()) == {
        "apiVersion": "kubevirt.io/v1", "kind": "KubeVirt", "metadata": {"name": "kubevirt", "namespace": "kubevirt"},
        "spec": {"imagePullPolicy": "IfNotPresent", "uninstallStrategy": "BlockUninstallIfWorkloadsExist"}}
    assert cdi(settings())["spec"]["uninstallStrategy"] == "BlockUninstallIfWorkloadsExist"


def test_devices_replicas_and_emulation():
    spec = kubevirt(settings(use_emulation=True, infra_replicas=1, pci_host_devices=[DEVICE],
                             workload_update_methods=["LiveMigrate"]))["spec"]
    assert spec["infra"] == {"replicas": 1}
    assert spec["workloadUpdateStrategy"] == {"workloadUpdateMethods": ["LiveMigrate"]}
    assert spec["configuration"] == {
        "developerConfiguration": {"useEmulation": True},
        "permittedHostDevices": {"pciHostDevices": [{"pciVendorSelector": "10DE:2331", "externalResourceProvider": True,
                                                     "resourceName": "nvidia.com/GH100_H100_PCIE"}]}}


def gates(version, *names, off=()):
    return kubevirt(Settings.of({"version": version, "feature_gates": list(names),
                                 "disabled_feature_gates": list(off)}))["spec"].get("configuration", {})


def test_feature_gates_are_those_of_the_version():
    assert gates("v1.8.4", "GPU", "LiveMigration") == {}
    assert gates("v1.7.0", "GPU") == {"developerConfiguration": {"featureGates": ["GPU"]}}
    assert gates("v1.8.4", "DisableMDEVConfiguration", "Sidecar", "HostDisk") == {
        "developerConfiguration": {"featureGates": ["HostDisk", "Sidecar"]}, "mediatedDevicesConfiguration": {"enabled": False}}
    assert gates("v1.9.0", off=["VMExport"])["developerConfiguration"] == {"disabledFeatureGates": ["VMExport"]}


@pytest.mark.parametrize(("values", "text"), [
    ({"feature_gates": ["Macvtap"]}, "Macvtap does not exist any more"),
    ({"feature_gates": ["VMExport"], "disabled_feature_gates": ["VMExport"]}, "both enabled and disabled"),
    ({"version": "v1.7.0", "disabled_feature_gates": ["VMExport"]}, "takes 1.8 or newer"),
    ({"version": "latest"}, "'latest' is not a version"),
])
def test_settings_that_do_not_fit_are_refused(values, text):
    with pytest.raises(InstallationError, match=text):
        kubevirt(settings(**values))


def test_an_unknown_setting_is_named():
    with pytest.raises(InstallationError, match="unknown KubeVirt setting emulation"):
        settings(emulation=True)


def test_further_configuration_is_merged():
    spec = kubevirt(settings(use_emulation=True, configuration={"developerConfiguration": {"cpuAllocationRatio": 4},
                                                                "migrations": {"parallelMigrationsPerCluster": 2}}))["spec"]
    assert spec["configuration"] == {"developerConfiguration": {"useEmulation": True, "cpuAllocationRatio": 4},
                                     "migrations": {"parallelMigrationsPerCluster": 2}}


def check(schema, value, where):
    """Every field of the value is in the structural schema."""
    if schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            assert key in schema.get("properties", {}), f"{where}.{key} is not a field"
            check(schema["properties"][key], inner, f"{where}.{key}")
    elif isinstance(value, list):
        for inner in value:
            check(schema["items"], inner, where)
    elif "enum" in schema:
        assert value in schema["enum"], f"{where}: {value}"


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_hyperconverged_has_only_fields_of_its_definition(version):
    path = CONTRACTS / "hco" / "hco00.crd.yaml"
    if not path.exists():
        pytest.skip("the definition of HyperConverged is not here")
    versions = {entry["name"]: entry["schema"]["openAPIV3Schema"]
                for entry in next(yaml.safe_load_all(path.read_text()))["spec"]["versions"]}
    obj = hyperconverged(settings(pci_host_devices=[DEVICE], workload_update_methods=["LiveMigrate"], use_emulation=True,
                                  feature_gates=["alignCPUs"], disabled_feature_gates=["downwardMetrics"]),
                         f"hco.kubevirt.io/{version}")
    assert "useEmulation" in obj["metadata"]["annotations"]["kubevirt.kubevirt.io/jsonpatch"]
    check(versions[version]["properties"]["spec"], obj["spec"], "spec")
    if version == "v1":
        assert obj["spec"]["featureGates"] == [{"name": "alignCPUs", "state": "Enabled"},
                                               {"name": "downwardMetrics", "state": "Disabled"}]
        assert obj["spec"]["virtualization"]["permittedHostDevices"]["pciHostDevices"][0]["pciDeviceSelector"] == "10DE:2331"
