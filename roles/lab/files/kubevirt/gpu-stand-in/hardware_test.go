package main

import (
	"encoding/json"
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

const sample = `{
  "migStrategy": "mixed", "sandbox": true, "defaultWorkload": "container", "defaultMigConfig": "all-disabled",
  "mig-configs": {
    "all-disabled": [{"devices": "all", "mig-enabled": false}],
    "one-full": [{"devices": [0], "mig-enabled": false}, {"devices": [1], "mig-enabled": true, "mig-devices": {"1g.10gb": 7}}],
    "wrong": [{"devices": "all", "mig-enabled": true, "mig-devices": {"9g.90gb": 1}}]
  },
  "nodes": {"a": {"count": 2, "product": "H100", "memoryMiB": 81559, "passthroughResource": "nvidia.com/GH100_H100_PCIE",
    "migMemoryMiB": {"1g.10gb": 9856}}}
}`

func parse(t *testing.T) *Hardware {
	t.Helper()
	h := &Hardware{}
	if err := json.Unmarshal([]byte(sample), h); err != nil {
		t.Fatal(err)
	}
	return h
}

func counts(devices map[string][]string) map[string]int {
	out := map[string]int{}
	for k, v := range devices {
		out[k] = len(v)
	}
	return out
}

func TestLabelsChooseTheResources(t *testing.T) {
	for name, c := range map[string]struct {
		labels map[string]string
		want   map[string]int
	}{
		"default":     {nil, map[string]int{"nvidia.com/gpu": 2}},
		"mixed":       {map[string]string{migConfigLabel: "one-full"}, map[string]int{"nvidia.com/gpu": 1, "nvidia.com/mig-1g.10gb": 7}},
		"passthrough": {map[string]string{workloadLabel: "vm-passthrough"}, map[string]int{"nvidia.com/GH100_H100_PCIE": 2}},
	} {
		got, err := parse(t).resources("a", c.labels)
		if err != nil || !maps.Equal(counts(got), c.want) {
			t.Errorf("%s: got %v, %v; want %v", name, got, err, c.want)
		}
	}
}

func TestWorkloadLabelCountsOnlyWithSandboxWorkloads(t *testing.T) {
	h := parse(t)
	h.Sandbox = false
	got, err := h.resources("a", map[string]string{workloadLabel: "vm-passthrough"})
	if err != nil || len(got["nvidia.com/gpu"]) != 2 {
		t.Fatal(got, err)
	}
}

func TestUnknownConfigurationsAreErrors(t *testing.T) {
	for label, value := range map[string]string{migConfigLabel: "none-such", workloadLabel: "vm-vgpu"} {
		if _, err := parse(t).resources("a", map[string]string{label: value}); err == nil {
			t.Errorf("%s=%s was accepted", label, value)
		}
	}
	if _, err := parse(t).resources("a", map[string]string{migConfigLabel: "wrong"}); err == nil {
		t.Error("a profile that the product lacks was accepted")
	}
}

func TestFeatureLabels(t *testing.T) {
	got := parse(t).featureLabels("a", map[string]string{migConfigLabel: "one-full"})
	for k, want := range map[string]string{presentLabel: "true", pciLabel: "true", productLabel: "H100", "nvidia.com/gpu.count": "2",
		"nvidia.com/mig.capable": "true", "nvidia.com/mig-1g.10gb.count": "7", "nvidia.com/mig-1g.10gb.product": "H100-MIG-1g.10gb"} {
		if got[k] != want {
			t.Errorf("%s is %q, not %q", k, got[k], want)
		}
	}
	vm := parse(t).featureLabels("a", map[string]string{workloadLabel: "vm-passthrough"})
	if len(vm) != 2 {
		t.Errorf("GPU Feature Discovery doesn't run on nodes for VMs, but labels are %v", vm)
	}
}

func TestMissingComparesWithTheKubelet(t *testing.T) {
	node := &corev1.Node{Status: corev1.NodeStatus{Allocatable: corev1.ResourceList{
		"cpu": resource.MustParse("2"), "nvidia.com/gpu": resource.MustParse("0")}}}
	if got := missing(node, map[string][]string{"nvidia.com/gpu": {"x"}}); got != "nvidia.com/gpu is 0, not 1" {
		t.Error(got)
	}
	if got := missing(node, map[string][]string{"nvidia.com/mig-1g.10gb": {"x"}}); got != "nvidia.com/mig-1g.10gb is not offered yet" {
		t.Error(got)
	}
	if got := missing(node, nil); got != "" {
		t.Error(got)
	}
}

func TestStatusWords(t *testing.T) {
	if got := summarise(0, nil); got.state != "ready" || got.reason != "NoGPUNodes" {
		t.Error(got)
	}
	if got := summarise(1, []string{"a: waiting"}); got.state != "notReady" {
		t.Error(got)
	}
	if got := summarise(1, nil); got.reason != "Reconciled" {
		t.Error(got)
	}
}
