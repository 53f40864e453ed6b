// A device plugin for machines without the devices that it offers. They are /dev/null under other names, which containers get
// as they would get real ones: through the kubelet, with an environment variable that lists them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"k8s.io/klog/v2"
	pluginapi "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
	plugin "k8s.io/kubernetes/pkg/kubelet/cm/devicemanager/plugin/v1beta1"
)

func main() {
	resource := flag.String("resource", "nvidia.com/gpu", "the name of the extended resource")
	count := flag.Int("devices", 1, "how many devices there are")
	path := flag.String("path", "/dev/nvidia", "the path of each device in containers, up to its number")
	variable := flag.String("variable", "NVIDIA_VISIBLE_DEVICES", "the environment variable that lists a container's devices")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *resource, *count, *path, *variable); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run serves the devices until the context ends.
func run(ctx context.Context, resource string, count int, path, variable string) error {
	devices := make([]*pluginapi.Device, count)
	for number := range devices {
		devices[number] = &pluginapi.Device{ID: fmt.Sprint(number), Health: pluginapi.Healthy}
	}
	socket := pluginapi.DevicePluginPath + strings.ReplaceAll(resource, "/", "-") + ".sock"
	stub := plugin.NewDevicePluginStub(klog.FromContext(ctx), devices, socket, resource, false, false)
	stub.SetAllocFunc(func(request *pluginapi.AllocateRequest, _ map[string]*pluginapi.Device) (*pluginapi.AllocateResponse, error) {
		return allocate(request, path, variable), nil
	})
	if err := stub.Start(ctx); err != nil {
		return fmt.Errorf("serving %s: %w", socket, err)
	}
	if err := stub.Register(ctx, pluginapi.KubeletSocket, resource, pluginapi.DevicePluginPath); err != nil {
		return fmt.Errorf("registering %s with the kubelet: %w", resource, err)
	}
	<-ctx.Done()
	return stub.Stop(klog.FromContext(ctx))
}

// allocate answers what each container gets.
func allocate(request *pluginapi.AllocateRequest, path, variable string) *pluginapi.AllocateResponse {
	response := &pluginapi.AllocateResponse{}
	for _, container := range request.ContainerRequests {
		allocated := &pluginapi.ContainerAllocateResponse{
			Envs: map[string]string{variable: strings.Join(container.DevicesIds, ",")},
		}
		for _, id := range container.DevicesIds {
			device := &pluginapi.DeviceSpec{HostPath: "/dev/null", ContainerPath: path + id, Permissions: "rw"}
			allocated.Devices = append(allocated.Devices, device)
		}
		response.ContainerResponses = append(response.ContainerResponses, allocated)
	}
	return response
}
