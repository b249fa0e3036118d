// Copyright: Contributors to the tandem.hybrid collection
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// A stand-in for vCenter: govmomi's simulator with many VMs whose hardware, rules and tags differ, the same in every run.
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"log"
	"net/url"
	"os"
	"os/signal"
	"syscall"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vapi/rest"
	_ "github.com/vmware/govmomi/vapi/simulator"
	"github.com/vmware/govmomi/vapi/tags"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

func main() {
	model := simulator.VPX()
	model.Host, model.ClusterHost, model.Datastore, model.Portgroup = 0, 3, 2, 3
	flag.IntVar(&model.Machine, "vms", 20, "number of VMs")
	capacity := flag.Int64("disk-bytes", 0, "size of every disk, 0 for the simulator's own")
	listen := flag.String("listen", "127.0.0.1:0", "address")
	flag.Parse()
	model.ServiceContent.About.ApiVersion, model.ServiceContent.About.Version = "8.0.2.0", "8.0.2"
	check(model.Create())
	defer model.Remove()
	var vms []*simulator.VirtualMachine
	for _, entity := range model.Map().All("VirtualMachine") {
		vms = append(vms, entity.(*simulator.VirtualMachine))
	}
	for i, vm := range vms {
		vary(i, vm)
		resize(vm, *capacity)
	}
	model.Map().Handler = exporting
	rules(model, vms)
	model.Service.RegisterEndpoints = true
	model.Service.Listen = &url.URL{Host: *listen, User: url.UserPassword("user", "secret")}
	model.Service.TLS = new(tls.Config)
	server := model.Service.NewServer()
	tag(server, vms)
	fmt.Printf("ready %s %d\n", server.URL.Host, len(vms))
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	<-stop
}

// vary gives a VM hardware that depends on its number only.
func vary(i int, vm *simulator.VirtualMachine) {
	config := vm.Config
	devices := config.Hardware.Device
	key := int32(90000)
	add := func(device types.BaseVirtualDevice) {
		key++
		device.GetVirtualDevice().Key = key
		devices = append(devices, device)
	}
	no, yes := false, true
	config.Hardware.NumCPU, config.Hardware.NumCoresPerSocket = int32(2+i%4*2), int32(1+i%2)
	config.Hardware.MemoryMB = int32(1024 * (1 + i%8))
	config.GuestId = []string{"debian12_64Guest", "windows2019srv_64Guest", "rhel9_64Guest"}[i%3]
	config.ChangeTrackingEnabled = &no
	config.ExtraConfig = []types.BaseOptionValue{ // instead of the simulator's own key
		&types.OptionValue{Key: "svga.present", Value: "TRUE"}, &types.OptionValue{Key: "pciBridge0.present", Value: "TRUE"}}
	if i%2 == 0 {
		config.ChangeTrackingEnabled = &yes
		config.Firmware = "efi"
		config.BootOptions = &types.VirtualMachineBootOptions{EfiSecureBootEnabled: &yes}
		add(&types.VirtualTPM{})
	}
	switch i % 10 {
	case 1:
		vm.Snapshot = &types.VirtualMachineSnapshotInfo{RootSnapshotList: []types.VirtualMachineSnapshotTree{{
			Name: "before", Vm: vm.Self, State: types.VirtualMachinePowerStatePoweredOff, Snapshot: types.ManagedObjectReference{Type: "VirtualMachineSnapshot", Value: fmt.Sprintf("snapshot-%d", i)}}}}
	case 2:
		config.ExtraConfig = append(config.ExtraConfig, &types.OptionValue{Key: "numa.nodeAffinity", Value: "0"})
		vm.CustomValue = []types.BaseCustomFieldValue{&types.CustomFieldStringValue{CustomFieldValue: types.CustomFieldValue{Key: 101}, Value: "owner"}}
	case 3:
		add(&types.VirtualPCIPassthrough{VirtualDevice: types.VirtualDevice{Backing: &types.VirtualPCIPassthroughDeviceBackingInfo{
			Id: fmt.Sprintf("0000:%02x:00.0", i%200), DeviceId: "2331", VendorId: 0x10de, SystemId: "system"}}})
	case 6:
		add(&types.VirtualPCIPassthrough{VirtualDevice: types.VirtualDevice{Backing: &types.VirtualPCIPassthroughVmiopBackingInfo{Vgpu: "grid_a100-8c"}}})
	case 4:
		vm.Guest.Net = []types.GuestNicInfo{{IpAddress: []string{"192.0.2.4"}, IpConfig: &types.NetIpConfigInfo{
			IpAddress: []types.NetIpConfigInfoIpAddress{{IpAddress: "192.0.2.4", PrefixLength: 24, Origin: "manual"}}}}}
	case 8:
		add(&types.VirtualUSBController{})
		add(&types.VirtualSoundCard{})
	}
	config.Hardware.Device = devices
}

func resize(vm *simulator.VirtualMachine, capacity int64) {
	for _, device := range vm.Config.Hardware.Device {
		if disk, ok := device.(*types.VirtualDisk); ok && capacity > 0 {
			disk.CapacityInBytes, disk.CapacityInKB = capacity, capacity/1024
		}
	}
}

// exporter adds ExportVm, which the simulator lacks, by its lease for snapshots: the files of the datastore as they are.
type exporter struct{ *simulator.VirtualMachine }

func (vm *exporter) ExportVm(ctx *simulator.Context, _ *types.ExportVm) soap.HasFault {
	ctx.Session.Remove(ctx, vm.Self)
	if state := vm.Runtime.PowerState; state != types.VirtualMachinePowerStatePoweredOff {
		return &methods.ExportVmBody{Fault_: simulator.Fault("", &types.InvalidPowerState{
			RequestedState: types.VirtualMachinePowerStatePoweredOff, ExistingState: state})}
	}
	snapshot := &simulator.VirtualMachineSnapshot{}
	snapshot.Vm, snapshot.Config = vm.Self, *vm.Config
	body := snapshot.ExportSnapshot(ctx, &types.ExportSnapshot{}).(*methods.ExportSnapshotBody)
	return &methods.ExportVmBody{Res: &types.ExportVmResponse{Returnval: body.Res.Returnval}}
}

// exporting dispatches ExportVm to the exporter, by the session's own registry, which comes before what a handler returns.
func exporting(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
	if vm, ok := ctx.Map.Get(method.This).(*simulator.VirtualMachine); ok && method.Name == "ExportVm" && ctx.Session != nil {
		ctx.Session.Put(&exporter{vm})
	}
	return nil, nil
}

// rules makes DRS rules of every kind in the first cluster.
func rules(model *simulator.Model, vms []*simulator.VirtualMachine) {
	if len(vms) < 6 {
		return
	}
	cluster := model.Map().Any("ClusterComputeResource").(*simulator.ClusterComputeResource)
	refs := func(from, to int) (out []types.ManagedObjectReference) {
		for _, vm := range vms[from:to] {
			out = append(out, vm.Self)
		}
		return
	}
	yes, no := true, false
	info := func(name string, mandatory *bool) types.ClusterRuleInfo {
		return types.ClusterRuleInfo{Name: name, Enabled: &yes, Mandatory: mandatory}
	}
	config := cluster.ConfigurationEx.(*types.ClusterConfigInfoEx)
	config.Group = append(config.Group, &types.ClusterVmGroup{ClusterGroupInfo: types.ClusterGroupInfo{Name: "front"}, Vm: refs(0, 2)},
		&types.ClusterVmGroup{ClusterGroupInfo: types.ClusterGroupInfo{Name: "back"}, Vm: refs(2, 4)},
		&types.ClusterHostGroup{ClusterGroupInfo: types.ClusterGroupInfo{Name: "licensed"}, Host: cluster.Host[:1]})
	config.Rule = append(config.Rule,
		&types.ClusterAntiAffinityRuleSpec{ClusterRuleInfo: info("apart", &yes), Vm: refs(0, 2)},
		&types.ClusterAffinityRuleSpec{ClusterRuleInfo: info("together", &no), Vm: refs(2, 4)},
		&types.ClusterVmHostRuleInfo{ClusterRuleInfo: info("licence", &yes), VmGroupName: "front", AffineHostGroupName: "licensed"},
		&types.ClusterDependencyRuleInfo{ClusterRuleInfo: info("order", &yes), VmGroup: "front", DependsOnVmGroup: "back"})
}

// tag attaches one of two tags to every tenth VM.
func tag(server *simulator.Server, vms []*simulator.VirtualMachine) {
	ctx := context.Background()
	client, err := govmomi.NewClient(ctx, server.URL, true)
	check(err)
	session := rest.NewClient(client.Client)
	check(session.Login(ctx, url.UserPassword("user", "secret")))
	manager := tags.NewManager(session)
	category, err := manager.CreateCategory(ctx, &tags.Category{Name: "stage", Cardinality: "SINGLE"})
	check(err)
	for number, name := range []string{"production", "test"} {
		id, err := manager.CreateTag(ctx, &tags.Tag{Name: name, CategoryID: category})
		check(err)
		var found []mo.Reference
		for i := number * 10; i < len(vms); i += 20 {
			found = append(found, vms[i].Self)
		}
		if len(found) > 0 {
			check(manager.AttachTagToMultipleObjects(ctx, id, found))
		}
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
