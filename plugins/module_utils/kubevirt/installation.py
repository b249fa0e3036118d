# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The custom resources that install KubeVirt, in the terms of the version that is installed. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, fields

from ansible_collections.tandem.hybrid.plugins.module_utils.documents.errors import TandemError

# States in KubeVirt 1.8: pkg/virt-config/featuregate/inactive.go. A gate that graduated is always on,
# and naming it only makes the admission webhook warn.
_GRADUATED = frozenset((
    "AutoResourceLimitsGate", "BochsDisplayForEFIGuests", "CPUNodeDiscovery", "ClusterProfiler",
    "CommonInstancetypesDeploymentGate", "DisableCustomSELinuxPolicy", "DynamicPodInterfaceNaming",
    "EnableVirtioFsConfigVolumes", "GPU", "HotplugNICs", "InstancetypeReferencePolicy", "LiveMigration", "NUMA",
    "NetworkBindingPlugins", "NonRoot", "PSA", "SRIOVLiveMigration", "VMLiveUpdateFeatures", "VMPersistentState",
    "VolumeMigration", "VolumesUpdateStrategy"))
_DISCONTINUED = frozenset(("ExperimentalVirtiofsSupport", "Macvtap", "Passt", "PasstIPStackMigration"))
_NO_MDEV_HANDLING = "DisableMDEVConfiguration"


class InstallationError(TandemError):
    """The settings do not fit the version of KubeVirt."""


@dataclass(frozen=True)
class HostDevice:
    """A kind of host device that VMs may use; `selector` is vendor:product of a PCI device or the name of an mdev type."""

    selector: str
    resource_name: str
    external: bool = False


@dataclass(frozen=True)
class Settings:
    """What the role's variables say; names as there, without the prefix."""

    version: str
    namespace: str = "kubevirt"
    use_emulation: bool = False
    feature_gates: tuple[str, ...] = ()
    disabled_feature_gates: tuple[str, ...] = ()
    pci_host_devices: tuple[HostDevice, ...] = ()
    mediated_devices: tuple[HostDevice, ...] = ()
    infra_replicas: int | None = None
    workload_update_methods: tuple[str, ...] = ()
    uninstall_strategy: str = "BlockUninstallIfWorkloadsExist"
    configuration: dict = field(default_factory=dict)
    cdi_configuration: dict = field(default_factory=dict)

    @classmethod
    def of(cls, values: dict) -> Settings:
        """From a dictionary; InstallationError names an unknown key."""
        unknown = sorted(set(values) - {entry.name for entry in fields(cls)})
        if unknown:
            raise InstallationError(f"unknown KubeVirt setting {', '.join(unknown)}")
        converted = dict(values)
        for name in ("pci_host_devices", "mediated_devices"):
            converted[name] = tuple(HostDevice(**entry) for entry in values.get(name) or ())
        for name in ("feature_gates", "disabled_feature_gates", "workload_update_methods"):
            converted[name] = tuple(values.get(name) or ())
        return cls(**converted)


def kubevirt(settings: Settings) -> dict:
    """The KubeVirt resource."""
    gates, no_mdev_handling = _gates(settings)
    disabled = sorted(set(settings.disabled_feature_gates))
    developer = _filled(useEmulation=settings.use_emulation or None, featureGates=gates, disabledFeatureGates=disabled)
    devices = _filled(pciHostDevices=_devices(settings.pci_host_devices, "pciVendorSelector"),
                      mediatedDevices=_devices(settings.mediated_devices, "mdevNameSelector"))
    configuration = _filled(developerConfiguration=developer, permittedHostDevices=devices,
                            mediatedDevicesConfiguration={"enabled": False} if no_mdev_handling else None)
    spec = _filled(
        imagePullPolicy="IfNotPresent",
        infra=_filled(replicas=settings.infra_replicas),
        workloadUpdateStrategy=_filled(workloadUpdateMethods=list(settings.workload_update_methods)),
        uninstallStrategy=settings.uninstall_strategy,
        configuration=merged(configuration, settings.configuration),
    )
    return _object("kubevirt.io/v1", "KubeVirt", "kubevirt", spec, settings.namespace)


def cdi(settings: Settings) -> dict:
    """The CDI resource, as upstream's release has it but for what the settings say."""
    linux = {"nodeSelector": {"kubernetes.io/os": "linux"}}
    replicas = _filled(**{f"{name}Replicas": settings.infra_replicas for name in ("apiServer", "deployment", "uploadProxy")})
    # HonorWaitForFirstConsumer: a disk is made where its VM runs, not where an importer happens to.
    config = merged({"featureGates": ["HonorWaitForFirstConsumer", "WebhookPvcRendering"]}, settings.cdi_configuration)
    spec = {"imagePullPolicy": "IfNotPresent", "uninstallStrategy": settings.uninstall_strategy, "config": config,
            "infra": {**linux, **replicas}, "workload": linux}
    return _object("cdi.kubevirt.io/v1beta1", "CDI", "cdi", spec)


def hyperconverged(settings: Settings, api_version: str) -> dict:
    """The HyperConverged resource in hco.kubevirt.io/v1 or v1beta1, whose fields differ."""
    devices = _filled(pciHostDevices=_devices(settings.pci_host_devices, "pciDeviceSelector"),
                      mediatedDevices=_devices(settings.mediated_devices, "mdevNameSelector"))
    update = _filled(workloadUpdateMethods=list(settings.workload_update_methods))
    states = {**dict.fromkeys(settings.feature_gates, True), **dict.fromkeys(settings.disabled_feature_gates, False)}
    if api_version == "hco.kubevirt.io/v1":
        gates = [{"name": name, "state": "Enabled" if on else "Disabled"} for name, on in sorted(states.items())]
        spec = _filled(deployment={"uninstallStrategy": settings.uninstall_strategy}, featureGates=gates,
                       virtualization=_filled(permittedHostDevices=devices, workloadUpdateStrategy=update))
    else:
        spec = _filled(uninstallStrategy=settings.uninstall_strategy, featureGates=dict(sorted(states.items())),
                       permittedHostDevices=devices, workloadUpdateStrategy=update)
    obj = _object(api_version, "HyperConverged", "kubevirt-hyperconverged", merged(spec, settings.configuration),
                  settings.namespace)
    if settings.use_emulation:
        # HyperConverged has no field for it and reverts edits of the KubeVirt resource.
        patch = [{"op": "add", "path": "/spec/configuration/developerConfiguration/useEmulation", "value": True}]
        obj["metadata"]["annotations"] = {"kubevirt.kubevirt.io/jsonpatch": json.dumps(patch)}
    return obj


def merged(base: dict, more: dict) -> dict:
    """`base` with what `more` says besides or instead, dictionary by dictionary."""
    result = dict(base)
    for key, value in more.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def _gates(settings: Settings) -> tuple[list[str], bool]:
    """The gates to name for the version, and whether to leave mediated devices alone."""
    gates, off = set(settings.feature_gates), set(settings.disabled_feature_gates)
    if gates & off:
        raise InstallationError(f"feature gate {', '.join(sorted(gates & off))} is both enabled and disabled")
    if _version(settings.version) < (1, 8):
        if off:
            raise InstallationError(f"KubeVirt {settings.version} cannot disable feature gates; it takes 1.8 or newer")
        return sorted(gates), False
    if gates & _DISCONTINUED:
        raise InstallationError(f"feature gate {', '.join(sorted(gates & _DISCONTINUED))} does not exist any more in "
                                f"KubeVirt {settings.version}")
    return sorted(gates - _GRADUATED - {_NO_MDEV_HANDLING}), _NO_MDEV_HANDLING in gates


def _version(text: str) -> tuple[int, int]:
    match = re.match(r"v?(\d+)\.(\d+)", text)
    if not match:
        raise InstallationError(f"{text!r} is not a version of KubeVirt, such as v1.8.4")
    return int(match.group(1)), int(match.group(2))


def _devices(devices: tuple[HostDevice, ...], selector: str) -> list[dict]:
    return [_filled(**{selector: device.selector, "resourceName": device.resource_name,
                       "externalResourceProvider": device.external or None}) for device in devices]


def _filled(**entries) -> dict:
    """The entries that say something."""
    return {name: value for name, value in entries.items() if value not in (None, {}, [])}


def _object(api_version: str, kind: str, name: str, spec: dict, namespace: str | None = None) -> dict:
    return {"apiVersion": api_version, "kind": kind, "metadata": _filled(name=name, namespace=namespace), "spec": spec}
