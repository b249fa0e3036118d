// gpu-stand-in plays NVIDIA's GPU operator where there are no GPUs, so that scheduling, counting,
// labels and waits can be tried: no driver, no runtime, nothing computes.
//
//	gpu-stand-in operator        labels nodes, plays the MIG manager, writes the ClusterPolicy's status
//	gpu-stand-in device-plugin   advertises the node's simulated devices to its kubelet
//	gpu-stand-in cleanup         deletes the ClusterPolicy and waits until the operator took its labels away
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const period = time.Second

func main() {
	hardware := flag.String("hardware", "/etc/gpu-stand-in/hardware.json", "file that describes the simulated hardware")
	dir := flag.String("dir", "/var/lib/kubelet/device-plugins", "the kubelet's device plugin directory")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	config, err := rest.InClusterConfig()
	if err != nil {
		log.Fatal(err)
	}
	nodes := kubernetes.NewForConfigOrDie(config).CoreV1().Nodes()
	policies := dynamic.NewForConfigOrDie(config).Resource(policyResource)
	switch flag.Arg(0) {
	case "operator":
		o := &operator{hardware: *hardware, nodes: nodes, policies: policies}
		repeat(ctx, o.reconcile)
	case "device-plugin":
		ps := newPlugins(*dir)
		repeat(ctx, func(ctx context.Context) error {
			h, err := readHardware(*hardware)
			if err != nil {
				return err
			}
			node, err := nodes.Get(ctx, os.Getenv("NODE_NAME"), metav1.GetOptions{})
			if err != nil {
				return err
			}
			want, err := h.resources(node.Name, node.Labels)
			if err != nil {
				return err
			}
			return ps.update(want)
		})
	case "cleanup":
		if err := cleanup(ctx, nodes, policies); err != nil {
			log.Fatal(err)
		}
	default:
		log.Fatalf("unknown command %q: operator, device-plugin or cleanup expected", flag.Arg(0))
	}
}

// repeat calls the step each second until the process is told to end, and logs an error once, not each second.
func repeat(ctx context.Context, step func(context.Context) error) {
	last := ""
	for {
		now := ""
		if err := step(ctx); err != nil && ctx.Err() == nil {
			now = err.Error()
		}
		if now != last && now != "" {
			log.Print(now)
		}
		last = now
		select {
		case <-ctx.Done():
			return
		case <-time.After(period):
		}
	}
}

// podNamespace is the namespace that the operator runs in.
func podNamespace() string { return os.Getenv("POD_NAMESPACE") }
