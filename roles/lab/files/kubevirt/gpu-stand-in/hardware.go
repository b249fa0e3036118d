package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Labels that choose what a node's GPUs are used for, as NVIDIA's operator reads them.
const (
	workloadLabel  = "nvidia.com/gpu.workload.config"
	migConfigLabel = "nvidia.com/mig.config"
	migStateLabel  = migConfigLabel + ".state"
	presentLabel   = "nvidia.com/gpu.present"
	pciLabel       = "feature.node.kubernetes.io/pci-10de.present"
	productLabel   = "nvidia.com/gpu.product"
)

// Hardware is the simulated hardware of the whole cluster, from the chart's ConfigMap.
type Hardware struct {
	Nodes            map[string]NodeHardware `json:"nodes"`
	MigConfigs       map[string][]MigEntry   `json:"mig-configs"`
	MigStrategy      string                  `json:"migStrategy"`
	Sandbox          bool                    `json:"sandbox"`
	DefaultWorkload  string                  `json:"defaultWorkload"`
	DefaultMigConfig string                  `json:"defaultMigConfig"`
}

// NodeHardware describes the GPUs in one node; all of them are alike.
type NodeHardware struct {
	Count               int               `json:"count"`
	Product             string            `json:"product"`
	Family              string            `json:"family"`
	MemoryMiB           int               `json:"memoryMiB"`
	PassthroughResource string            `json:"passthroughResource"`
	MigMemoryMiB        map[string]int    `json:"migMemoryMiB"`
	Labels              map[string]string `json:"labels"` // what an administrator set before the operator came
}

// MigEntry is one entry of a MIG configuration, in the form of NVIDIA's mig-parted.
type MigEntry struct {
	Devices    DeviceSelection `json:"devices"`
	MigEnabled bool            `json:"mig-enabled"`
	MigDevices map[string]int  `json:"mig-devices"`
}

// DeviceSelection is "all" or a list of GPU indices.
type DeviceSelection struct{ indices []int }

func (d *DeviceSelection) UnmarshalJSON(b []byte) error {
	if string(b) == `"all"` {
		return nil
	}
	return json.Unmarshal(b, &d.indices)
}

func (d DeviceSelection) has(index int) bool {
	return d.indices == nil || slices.Contains(d.indices, index)
}

func readHardware(path string) (*Hardware, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	h := &Hardware{}
	if err := json.Unmarshal(b, h); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return h, nil
}

// workload says what the node's GPUs are for: "container" or "vm-passthrough".
func (h *Hardware) workload(labels map[string]string) string {
	if !h.Sandbox { // the label counts only with sandboxWorkloads.enabled
		return "container"
	}
	if w := labels[workloadLabel]; w != "" {
		return w
	}
	return h.DefaultWorkload
}

func (h *Hardware) migConfig(labels map[string]string) string {
	if c := labels[migConfigLabel]; c != "" {
		return c
	}
	return h.DefaultMigConfig
}

// resources returns the device identifiers of each extended resource that the node should advertise.
func (h *Hardware) resources(node string, labels map[string]string) (map[string][]string, error) {
	hw, devices := h.Nodes[node], map[string][]string{}
	switch w := h.workload(labels); w {
	case "vm-passthrough":
		for i := range hw.Count {
			devices[hw.PassthroughResource] = append(devices[hw.PassthroughResource], fmt.Sprintf("0000:%02x:00.0", 0x80+i))
		}
		return devices, nil
	case "container":
	default:
		return nil, fmt.Errorf("%s=%s is not simulated; container and vm-passthrough are", workloadLabel, w)
	}
	slices, err := h.slicesByGPU(hw, h.migConfig(labels))
	if err != nil {
		return nil, err
	}
	for gpu, profiles := range slices {
		if profiles == nil {
			devices["nvidia.com/gpu"] = append(devices["nvidia.com/gpu"], fmt.Sprintf("GPU-%s-%d", node, gpu))
		}
		for profile, count := range profiles {
			for i := range count {
				name := h.migResource(profile)
				devices[name] = append(devices[name], fmt.Sprintf("MIG-%s-%d-%s-%d", node, gpu, strings.ReplaceAll(profile, ".", "-"), i))
			}
		}
	}
	return devices, nil
}

// slicesByGPU has an entry for each GPU: nil for a full one, otherwise its MIG devices by profile.
func (h *Hardware) slicesByGPU(hw NodeHardware, config string) ([]map[string]int, error) {
	gpus := make([]map[string]int, hw.Count)
	if len(hw.MigMemoryMiB) == 0 { // the product has no MIG
		return gpus, nil
	}
	entries, ok := h.MigConfigs[config]
	if !ok {
		return nil, fmt.Errorf("there is no MIG configuration %q", config)
	}
	for i := range gpus {
		for _, e := range entries {
			if !e.MigEnabled || !e.Devices.has(i) {
				continue
			}
			gpus[i] = e.MigDevices
			for profile := range e.MigDevices {
				if hw.MigMemoryMiB[profile] == 0 {
					return nil, fmt.Errorf("%s has no MIG profile %s", hw.Product, profile)
				}
			}
		}
	}
	return gpus, nil
}

func (h *Hardware) migResource(profile string) string {
	if h.MigStrategy == "mixed" {
		return "nvidia.com/mig-" + profile
	}
	return "nvidia.com/gpu"
}

// featureLabels returns the labels that Node Feature Discovery and GPU Feature Discovery give to the node.
func (h *Hardware) featureLabels(node string, labels map[string]string) map[string]string {
	hw := h.Nodes[node]
	out := map[string]string{pciLabel: "true", presentLabel: "true"}
	if h.workload(labels) != "container" { // GPU Feature Discovery doesn't run on the other nodes
		return out
	}
	out[productLabel] = hw.Product
	out["nvidia.com/gpu.family"] = hw.Family
	out["nvidia.com/gpu.memory"] = strconv.Itoa(hw.MemoryMiB)
	out["nvidia.com/gpu.count"] = strconv.Itoa(hw.Count)
	out["nvidia.com/gpu.replicas"] = "1"
	out["nvidia.com/mig.capable"] = strconv.FormatBool(len(hw.MigMemoryMiB) > 0)
	if len(hw.MigMemoryMiB) == 0 {
		return out
	}
	out["nvidia.com/mig.strategy"] = h.MigStrategy
	out[migConfigLabel] = h.migConfig(labels)
	gpus, err := h.slicesByGPU(hw, h.migConfig(labels))
	if err != nil {
		return out
	}
	for _, profiles := range gpus {
		for profile, count := range profiles {
			if h.MigStrategy == "mixed" {
				h.mixedLabels(out, hw, profile, count)
			}
		}
	}
	return out
}

func (h *Hardware) mixedLabels(out map[string]string, hw NodeHardware, profile string, count int) {
	prefix := "nvidia.com/mig-" + profile
	before, _ := strconv.Atoi(out[prefix+".count"]) // absent counts as zero
	out[prefix+".count"] = strconv.Itoa(before + count)
	out[prefix+".memory"] = strconv.Itoa(hw.MigMemoryMiB[profile])
	out[prefix+".product"] = hw.Product + "-MIG-" + profile
	out[prefix+".replicas"] = "1"
}

// ours says whether the operator wrote a label, so that it may take it away again.
func ours(label string) bool {
	switch label {
	case workloadLabel, migConfigLabel:
		return false // an administrator's choice
	case pciLabel, migStateLabel:
		return true
	}
	return strings.HasPrefix(label, "nvidia.com/gpu.") || strings.HasPrefix(label, "nvidia.com/mig")
}
