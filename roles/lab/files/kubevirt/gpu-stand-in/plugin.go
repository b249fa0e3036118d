package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	deviceplugin "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// plugin serves one extended resource to the kubelet.
type plugin struct {
	deviceplugin.UnimplementedDevicePluginServer
	resource string
	mu       sync.Mutex
	devices  []string
	changed  chan struct{}
	server   *grpc.Server
}

func (p *plugin) set(devices []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slices.Equal(devices, p.devices) {
		return
	}
	p.devices = devices
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *plugin) list() (*deviceplugin.ListAndWatchResponse, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &deviceplugin.ListAndWatchResponse{}
	for _, id := range p.devices {
		r.Devices = append(r.Devices, &deviceplugin.Device{ID: id, Health: deviceplugin.Healthy})
	}
	return r, p.changed
}

func (p *plugin) GetDevicePluginOptions(context.Context, *deviceplugin.Empty) (*deviceplugin.DevicePluginOptions, error) {
	return &deviceplugin.DevicePluginOptions{}, nil
}

func (p *plugin) ListAndWatch(_ *deviceplugin.Empty, stream deviceplugin.DevicePlugin_ListAndWatchServer) error {
	for {
		r, changed := p.list()
		if err := stream.Send(r); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return nil
		}
	}
}

// Allocate hands the device identifiers over in the variables that NVIDIA's container runtime
// (full GPUs, MIG) and KubeVirt's virt-launcher (PCI passthrough) read.
func (p *plugin) Allocate(_ context.Context, q *deviceplugin.AllocateRequest) (*deviceplugin.AllocateResponse, error) {
	r := &deviceplugin.AllocateResponse{}
	for _, c := range q.ContainerRequests {
		r.ContainerResponses = append(r.ContainerResponses, &deviceplugin.ContainerAllocateResponse{
			Envs: map[string]string{variable(p.resource): strings.Join(c.DevicesIds, ",")}})
		log.Printf("allocated %s: %v", p.resource, c.DevicesIds)
	}
	return r, nil
}

func variable(resource string) string {
	if resource == "nvidia.com/gpu" || strings.HasPrefix(resource, "nvidia.com/mig-") {
		return "NVIDIA_VISIBLE_DEVICES"
	}
	return "PCI_RESOURCE_" + strings.NewReplacer("/", "_", ".", "_", "-", "_").Replace(strings.ToUpper(resource))
}

func (p *plugin) socket() string {
	return "gpu-stand-in-" + strings.ReplaceAll(p.resource, "/", "_") + ".sock"
}

// start serves the resource in the kubelet's directory and registers it.
func (p *plugin) start(dir string) error {
	p.stop()
	path := filepath.Join(dir, p.socket())
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	deviceplugin.RegisterDevicePluginServer(server, p)
	go func() {
		if err := server.Serve(l); err != nil {
			log.Printf("%s: %v", p.resource, err)
		}
	}()
	p.server = server
	c, err := grpc.NewClient("unix://"+filepath.Join(dir, "kubelet.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, err = deviceplugin.NewRegistrationClient(c).Register(ctx, &deviceplugin.RegisterRequest{
		Version: deviceplugin.Version, Endpoint: p.socket(), ResourceName: p.resource})
	return err
}

func (p *plugin) stop() {
	if p.server != nil {
		p.server.Stop()
		p.server = nil
	}
}

// plugins keeps one plugin for each resource that was ever wanted.
type plugins struct {
	dir    string
	known  map[string]*plugin
	socket time.Time // when the kubelet's socket was made: a new one means that the kubelet restarted
}

func newPlugins(dir string) *plugins {
	return &plugins{dir: dir, known: map[string]*plugin{}}
}

// update makes the kubelet see the wanted devices; a resource not wanted any more goes to zero.
func (ps *plugins) update(want map[string][]string) error {
	info, err := os.Stat(filepath.Join(ps.dir, "kubelet.sock"))
	if err != nil {
		return err
	}
	restarted := !info.ModTime().Equal(ps.socket)
	for resource := range want {
		if ps.known[resource] == nil {
			ps.known[resource] = &plugin{resource: resource, changed: make(chan struct{})}
		}
	}
	for resource, p := range ps.known {
		p.set(want[resource])
		_, gone := os.Stat(filepath.Join(ps.dir, p.socket()))
		if p.server != nil && !restarted && gone == nil {
			continue
		}
		if err := p.start(ps.dir); err != nil {
			p.stop()
			return fmt.Errorf("register %s: %w", resource, err)
		}
		log.Printf("registered %s with %d devices", resource, len(want[resource]))
	}
	ps.socket = info.ModTime()
	return nil
}
