package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	deviceplugin "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

type kubelet struct {
	deviceplugin.UnimplementedRegistrationServer
	registered chan *deviceplugin.RegisterRequest
}

func (k *kubelet) Register(_ context.Context, r *deviceplugin.RegisterRequest) (*deviceplugin.Empty, error) {
	k.registered <- r
	return &deviceplugin.Empty{}, nil
}

func startKubelet(t *testing.T, dir string) (*kubelet, *grpc.Server) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(dir, "kubelet.sock"))
	if err != nil {
		t.Fatal(err)
	}
	k, s := &kubelet{registered: make(chan *deviceplugin.RegisterRequest, 8)}, grpc.NewServer()
	deviceplugin.RegisterRegistrationServer(s, k)
	go s.Serve(l)
	return k, s
}

func (k *kubelet) next(t *testing.T) *deviceplugin.RegisterRequest {
	t.Helper()
	select {
	case r := <-k.registered:
		return r
	case <-time.After(5 * time.Second):
		t.Fatal("no registration within 5 s")
		return nil
	}
}

func TestAdvertisesAllocatesAndRegistersAgain(t *testing.T) {
	dir := t.TempDir()
	k, server := startKubelet(t, dir)
	ps := newPlugins(dir)
	const gpu = "nvidia.com/gpu"
	if err := ps.update(map[string][]string{gpu: {"GPU-a-0", "GPU-a-1"}}); err != nil {
		t.Fatal(err)
	}
	request := k.next(t)
	if request.ResourceName != gpu || request.Version != deviceplugin.Version {
		t.Fatalf("registered %v", request)
	}
	conn, err := grpc.NewClient("unix://"+filepath.Join(dir, request.Endpoint), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := deviceplugin.NewDevicePluginClient(conn)
	stream, err := client.ListAndWatch(t.Context(), &deviceplugin.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{2, 1, 0} {
		r, err := stream.Recv()
		if err != nil || len(r.Devices) != want {
			t.Fatalf("devices %v, %v; want %d", r, err, want)
		}
		switch want {
		case 2:
			err = ps.update(map[string][]string{gpu: {"GPU-a-0"}})
		case 1:
			err = ps.update(nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	a, err := client.Allocate(t.Context(), &deviceplugin.AllocateRequest{ContainerRequests: []*deviceplugin.ContainerAllocateRequest{{DevicesIds: []string{"GPU-a-0"}}}})
	if err != nil || a.ContainerResponses[0].Envs["NVIDIA_VISIBLE_DEVICES"] != "GPU-a-0" {
		t.Fatalf("allocated %v, %v", a, err)
	}

	// a kubelet that starts empties the directory and makes its socket anew
	server.Stop()
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, f := range files {
		os.Remove(f)
	}
	k, server = startKubelet(t, dir)
	defer server.Stop()
	if err := ps.update(map[string][]string{gpu: {"GPU-a-0"}}); err != nil {
		t.Fatal(err)
	}
	if request := k.next(t); request.ResourceName != gpu {
		t.Fatalf("registered %v", request)
	}
}

func TestPassthroughUsesTheVariableOfVirtLauncher(t *testing.T) {
	if got := variable("nvidia.com/GH100_H100_PCIE"); got != "PCI_RESOURCE_NVIDIA_COM_GH100_H100_PCIE" {
		t.Fatal(got)
	}
}
