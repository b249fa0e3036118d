# Copyright: Contributors to the tandem.hybrid collection
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of an OVF descriptor has no counterpart on KubeVirt and may go, and why: the first rule that fits a field counts."""

from __future__ import annotations

from .ledger import DropRule

_TEXT = "a text for people"
_VSPHERE = "a setting of vSphere without a counterpart on KubeVirt"
_ALLOCATION = "shares, limits and reservations of the source; requests follow from the VM's size"

RULES = (
    DropRule("**/Info/**|**/@msgid|**/Strings/**|Strings/**|**/EulaSection/**|**/Category/**|**/Label/**|**/@buildId|@*", _TEXT),
    DropRule("**/@required|**/@xml:lang|**/@xsi:*|**/@transport", "tells readers of the format how to treat the part"),
    DropRule("**/Section/@id|**/Section/Description/**|**/Description/**", _TEXT),
    DropRule("References/**", "how the package carries its files; the copy reads them there"),
    DropRule("DiskSection/Disk/@populatedSize|Section/Disk/@populatedSize|DiskSection/**|Section/Disk/**", "the copy measures this itself"),
    DropRule("NetworkSection/**|**/NetworkSection/**|Section/Network/**", "the network map decides this"),
    DropRule("DeploymentOptionSection/**|**/DeploymentOptionSection/**", "another deployment option than the default"),
    DropRule(
        "**/ProductSection/**|**/Section/Property/**|**/Section/Product/**|**/Section/Vendor/**|**/Section/Version/**|"
        "**/Section/FullVersion/**|**/Section/*Url/**|**/Section/Icon/**",
        "product properties configure a first boot; the disks are configured already",
    ),
    DropRule(
        "**/ResourceAllocationSection/**|**/*PlacementGroupSection/**|**/StorageGroupSection/**|**/PlacementSection/**|"
        "*PlacementGroupSection/**|StorageGroupSection/**|ResourceAllocationSection/**",
        "policies of the plan decide placement",
    ),
    DropRule("**/StartupSection/**|**/InstallSection/**|**/BootOrderSection/**", "waves of the plan decide the order"),
    DropRule("**/IpAssignmentSection/**|IpAssignmentSection/**|**/ScaleOutSection/**", "guests keep their own network configuration"),
    DropRule("**/OperatingSystemSection/**|**/Section/@version", "the guest's kind is known by its first identifier"),
    DropRule("**/System/**", "an identifier of the hardware family"),
    DropRule("**/vmw:Config/**|**/vmw:ExtraConfig/**|**/vmw:*/**|vmw:*/**|**/@vmw:*", _VSPHERE),
    DropRule("**/vbox:**|vbox:**", "VirtualBox's own copy of the same VM"),
    DropRule("**/vcloud:**|vcloud:**|**/vcd:**|vcd:**|**/@vcloud:*", "a setting of vCloud Director without a counterpart on KubeVirt"),
    DropRule("**/*Item/rasd:Reservation/**|**/*Item/rasd:Limit/**|**/*Item/rasd:Weight/**", _ALLOCATION),
    DropRule(
        "**/*Item/rasd:Automatic*/**|**/*Item/rasd:ElementName/**|**/*Item/rasd:Caption/**|**/*Item/rasd:InstanceI*/**|"
        "**/*Item/rasd:Description/**|**/*Item/asd:ElementName/**|**/*Item/asd:InstanceID/**|**/*Item/asd:Caption/**",
        "names and numbers of the descriptor",
    ),
    DropRule(
        "**/*Item/rasd:AllocationUnits/**|**/*Item/rasd:VirtualQuantityUnits/**|**/*Item/rasd:ConsumerVisibility/**|"
        "**/*Item/rasd:MappingBehavior/**|**/*Item/rasd:PoolID/**|**/*Item/rasd:OtherResourceType/**|**/*Item/rasd:ChangeableType/**|"
        "**/*Item/rasd:ConfigurationName/**|**/*Item/rasd:Generation/**|**/*Item/rasd:AddressOnParent/**|**/*Item/rasd:Address/**|"
        "**/*Item/rasd:BusNumber/**|**/*Item/rasd:Parent/**|**/*Item/rasd:VirtualQuantity/**|**/*Item/rasd:Connection/**|"
        "**/*Item/rasd:HostResource/**|**/*Item/rasd:ResourceSubType/**",
        "KubeVirt sets this itself",
    ),
    DropRule(
        "**/VirtualSystemCollection/@id|VirtualSystemCollection/@id|**/VirtualSystemCollection/Name/**|VirtualSystemCollection/Name/**|"
        "**/Content/@id|Content/@id|**/VirtualSystem/@id|VirtualSystem/@id|**/*Item/@*",
        "names of the package's structure",
    ),
    DropRule("**/AnnotationSection/**", _TEXT),
)
