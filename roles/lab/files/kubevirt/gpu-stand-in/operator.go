package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
)

var policyResource = schema.GroupVersionResource{Group: "nvidia.com", Version: "v1", Resource: "clusterpolicies"}

type operator struct {
	hardware string
	nodes    typedcorev1.NodeInterface
	policies dynamic.ResourceInterface
}

// outcome is what the status of the ClusterPolicy says, in the words of NVIDIA's operator.
type outcome struct{ state, reason, message string }

// reconcile labels the nodes while there is a ClusterPolicy, and writes its status.
func (o *operator) reconcile(ctx context.Context) error {
	h, err := readHardware(o.hardware)
	if err != nil {
		return err
	}
	list, err := o.policies.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	nodes, err := o.nodes.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	found, waiting := 0, []string{}
	for i := range nodes.Items {
		node := &nodes.Items[i]
		_, simulated := h.Nodes[node.Name]
		if len(list.Items) == 0 || !simulated {
			err = o.label(ctx, node, nil, h.Nodes[node.Name].Labels)
		} else {
			found++
			var reason string
			reason, err = o.reconcileNode(ctx, h, node)
			if reason != "" {
				waiting = append(waiting, node.Name+": "+reason)
			}
		}
		if err != nil {
			return err
		}
	}
	for i := range list.Items {
		if err := o.writeStatus(ctx, &list.Items[i], summarise(found, waiting)); err != nil {
			return err
		}
	}
	return nil
}

func summarise(found int, waiting []string) outcome {
	switch {
	case found == 0:
		return outcome{"ready", "NoGPUNodes", "No GPU node found, watching for new nodes to join the cluster."}
	case len(waiting) > 0:
		return outcome{"notReady", "OperandNotReady", strings.Join(waiting, "; ")}
	}
	return outcome{"ready", "Reconciled", "ClusterPolicy is ready as all resources have been successfully reconciled"}
}

// reconcileNode labels a node and says what it still waits for.
func (o *operator) reconcileNode(ctx context.Context, h *Hardware, node *corev1.Node) (string, error) {
	effective := maps.Clone(node.Labels)
	for k, v := range h.Nodes[node.Name].Labels {
		if _, set := effective[k]; !set {
			effective[k] = v
		}
	}
	want := h.featureLabels(node.Name, effective)
	for k := range h.Nodes[node.Name].Labels {
		want[k] = effective[k]
	}
	resources, err := h.resources(node.Name, effective)
	reason := ""
	if err != nil {
		reason = err.Error()
	} else {
		reason = missing(node, resources)
	}
	if want[migConfigLabel] != "" {
		want[migStateLabel] = migState(err, reason)
	}
	return reason, o.label(ctx, node, want, nil)
}

func migState(err error, reason string) string {
	switch {
	case err != nil:
		return "failed"
	case reason != "":
		return "pending"
	}
	return "success"
}

// missing says which resource the kubelet doesn't offer as wanted yet; "" when all are there.
func missing(node *corev1.Node, want map[string][]string) string {
	for name, quantity := range node.Status.Allocatable {
		if strings.HasPrefix(string(name), "nvidia.com/") && quantity.Value() != int64(len(want[string(name)])) {
			return fmt.Sprintf("%s is %d, not %d", name, quantity.Value(), len(want[string(name)]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if _, offered := node.Status.Allocatable[corev1.ResourceName(name)]; !offered {
			return name + " is not offered yet"
		}
	}
	return ""
}

// label gives the node the wanted labels and takes away those of ours that aren't wanted, and the given ones.
func (o *operator) label(ctx context.Context, node *corev1.Node, want, unwanted map[string]string) error {
	change := map[string]any{}
	for k, v := range want {
		if node.Labels[k] != v {
			change[k] = v
		}
	}
	for k, v := range node.Labels {
		_, wanted := want[k]
		value, given := unwanted[k]
		if !wanted && (ours(k) || given && value == v) {
			change[k] = nil
		}
	}
	if len(change) == 0 {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": change}})
	if err != nil {
		return err
	}
	_, err = o.nodes.Patch(ctx, node.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "gpu-operator"})
	return err
}

func (o *operator) writeStatus(ctx context.Context, policy *unstructured.Unstructured, now outcome) error {
	old := conditions(policy)
	good := now.state == "ready"
	want := []any{
		condition(old, "Ready", good, pick(good, now.reason, "Error"), pick(good, now.message, "")),
		condition(old, "Error", !good, pick(good, "Ready", now.reason), pick(good, "", now.message)),
	}
	namespace, _, _ := unstructured.NestedString(policy.Object, "status", "namespace")
	state, _, _ := unstructured.NestedString(policy.Object, "status", "state")
	if state == now.state && namespace == podNamespace() && same(old, want) {
		return nil
	}
	policy.Object["status"] = map[string]any{"state": now.state, "namespace": podNamespace(), "conditions": want}
	_, err := o.policies.UpdateStatus(ctx, policy, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) { // changed or deleted meanwhile: the next round sees it
		return nil
	}
	return err
}

func conditions(policy *unstructured.Unstructured) map[string]map[string]any {
	out := map[string]map[string]any{}
	list, _, _ := unstructured.NestedSlice(policy.Object, "status", "conditions")
	for _, item := range list {
		if c, ok := item.(map[string]any); ok {
			out[fmt.Sprint(c["type"])] = c
		}
	}
	return out
}

func condition(old map[string]map[string]any, kind string, status bool, reason, message string) map[string]any {
	c := map[string]any{"type": kind, "status": pick(status, "True", "False"), "reason": reason, "message": message,
		"lastTransitionTime": time.Now().UTC().Format(time.RFC3339)}
	if before := old[kind]; before != nil && before["status"] == c["status"] {
		c["lastTransitionTime"] = before["lastTransitionTime"]
	}
	return c
}

func same(old map[string]map[string]any, want []any) bool {
	for _, item := range want {
		c := item.(map[string]any)
		before := old[c["type"].(string)]
		for _, field := range []string{"status", "reason", "message"} {
			if before == nil || before[field] != c[field] {
				return false
			}
		}
	}
	return true
}

func pick(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

// cleanup deletes the ClusterPolicies and waits until the operator has taken its labels away.
func cleanup(ctx context.Context, nodes typedcorev1.NodeInterface, policies dynamic.ResourceInterface) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := policies.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		return err
	}
	for {
		list, err := nodes.List(ctx, metav1.ListOptions{LabelSelector: presentLabel})
		if err != nil {
			return err
		}
		if len(list.Items) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("the operator has not taken its labels away within a minute")
		case <-time.After(period):
		}
	}
}
