# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a VMX file has no counterpart on KubeVirt and may go, and why: the first rule that fits a key counts."""
from __future__ import annotations

from .ledger import DropRule

_VMWARE = "state and bookkeeping of VMware"
_TUNING = "tuning of the source host; requests follow from the VM's size"

RULES = (
    DropRule("@.encoding|@config.version|@cleanshutdown|@extendedconfigfile|@uuid.*|@vc.uuid|@vm.*|@viv.*|@checkpoint.*|@replay.*|"
             "@migrate.*|@vmotion.*|@monitor.*|@snapshot.*|@softpoweroff|@guestinfo.*|@log.*|@messagebus.*|@policy.*|@fileid|"
             "@hgfs.*|@isolation.*|@gui.*|@msg.*|@workingdir|@vmx.*|@proxyapps.*|@unity.*|@toolsinstallmanager.*|@*#*", _VMWARE),
    DropRule("@virtualhw.productcompatibility|@deploymentplatform|@evccompatibilitymode|@chipset.*|@guestosaltname|@guestos.*", _VMWARE),
    DropRule("@powertype.*|@toolscripts.*|@tools.*|@guest.*", "VMware Tools; the QEMU guest agent takes their place"),
    DropRule("@sched.*|@memallowautoscaledown|@numa.*|@mem.*|@mainmem.*|@prefvmx.*|@disable_acceleration|@cpuid.numsmt|@vcpu.*", _TUNING),
    DropRule("@cpuid.*|@hostcpuid.*|@guestcpuid.*|@usercpuid.*", "CPU identification of the source host; KubeVirt names a model"),
    DropRule("@pcibridge*|@*.pcislotnumber|@vmci*|@hpet*|@ehci*|@usb*|@svga*|@vmxstats*|@scsi*.saswwid", "KubeVirt sets this itself"),
    DropRule("@scsi*|@sata*|@ide*|@nvme*|@floppy*|@disk.*", "how VMware attaches its disks; order, unit and file are kept"),
    DropRule("@ethernet*", "how VMware attaches its adapters; MAC, model and network are kept"),
    DropRule("@pcipassthru*", "the device plugin of the node hands the device to the VM"),
    DropRule("@serial*|@parallel*|@sound*|@remotedisplay.*|@mks.*", "KubeVirt has one serial console and VNC, reached through its API"),
    DropRule("@smbios.*|@bios.*|@efi.*|@acpi.*|@rtc.*|@time.*|@keyboard.*|@mouse.*|@nvram", "KubeVirt sets this itself"),
    DropRule("@rtcdiff*|@vhv.*|@vvtd.*|@ctkenabled|@*.ctkenabled|@encryption.*|@dataFileKey", _VMWARE),
)
