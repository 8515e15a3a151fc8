// Drives the unmodified nacos-sdk-go v2 (gRPC; HTTP for persistent instances). Protocol: ../README.md.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/nacos-group/nacos-sdk-go/v2/clients"
	"github.com/nacos-group/nacos-sdk-go/v2/clients/naming_client"
	"github.com/nacos-group/nacos-sdk-go/v2/common/constant"
	"github.com/nacos-group/nacos-sdk-go/v2/model"
	"github.com/nacos-group/nacos-sdk-go/v2/vo"
)

const sdk = "github.com/nacos-group/nacos-sdk-go/v2"

type instance struct {
	IP        string            `json:"ip"`
	Port      uint64            `json:"port"`
	Cluster   string            `json:"cluster"`
	Weight    *float64          `json:"weight"`
	Ephemeral *bool             `json:"ephemeral"`
	Metadata  map[string]string `json:"metadata"`
}

type command struct {
	instance
	ID        uint64     `json:"id"`
	Do        string     `json:"do"`
	Service   string     `json:"service"`
	Group     string     `json:"group"`
	Instances []instance `json:"instances"`
	Clusters  []string   `json:"clusters"`
	Healthy   *bool      `json:"healthy"`
	Page      uint32     `json:"page"`
	Size      uint32     `json:"size"`
}

type driver struct {
	naming        naming_client.INamingClient
	subscriptions map[string]*vo.SubscribeParam
}

var output sync.Mutex

func say(message map[string]any) {
	text, err := json.Marshal(message)
	if err != nil {
		panic(err)
	}
	output.Lock()
	defer output.Unlock()
	fmt.Printf("@@ %s\n", text)
}

func text(hosts []model.Instance) []string {
	all := make([]string, 0, len(hosts))
	for _, host := range hosts {
		all = append(all, fmt.Sprintf("%s:%d=%t", host.Ip, host.Port, host.Healthy))
	}
	sort.Strings(all)
	return all
}

func (i instance) param(c command) vo.RegisterInstanceParam {
	weight := 1.0
	if i.Weight != nil {
		weight = *i.Weight
	}
	return vo.RegisterInstanceParam{
		Ip: i.IP, Port: i.Port, Weight: weight, Enable: true, Healthy: true, Metadata: i.Metadata,
		ClusterName: i.Cluster, ServiceName: c.Service, GroupName: c.Group, Ephemeral: i.ephemeral(),
	}
}

func (i instance) ephemeral() bool {
	return i.Ephemeral == nil || *i.Ephemeral
}

func (d *driver) act(c command) (any, error) {
	switch c.Do {
	case "register":
		return d.naming.RegisterInstance(c.instance.param(c))
	case "update":
		return d.naming.UpdateInstance(vo.UpdateInstanceParam(c.instance.param(c)))
	case "batch":
		params := make([]vo.RegisterInstanceParam, 0, len(c.Instances))
		for _, i := range c.Instances {
			params = append(params, i.param(c))
		}
		batch := vo.BatchRegisterInstanceParam{ServiceName: c.Service, GroupName: c.Group, Instances: params}
		return d.naming.BatchRegisterInstance(batch)
	case "deregister":
		return d.naming.DeregisterInstance(vo.DeregisterInstanceParam{
			Ip: c.IP, Port: c.Port, Cluster: c.Cluster, ServiceName: c.Service, GroupName: c.Group,
			Ephemeral: c.ephemeral(),
		})
	case "list":
		return d.list(c)
	case "services":
		page, err := d.naming.GetAllServicesInfo(
			vo.GetAllServiceInfoParam{GroupName: c.Group, PageNo: c.Page, PageSize: c.Size})
		return map[string]any{"count": page.Count, "names": page.Doms}, err
	case "subscribe":
		return true, d.subscribe(c)
	case "unsubscribe":
		param := d.subscriptions[c.Group+"@@"+c.Service]
		delete(d.subscriptions, c.Group+"@@"+c.Service)
		return true, d.naming.Unsubscribe(param)
	default:
		return nil, fmt.Errorf("unknown: %s", c.Do)
	}
}

// list sees the SDK's cache, which its first query of a service subscribes to.
func (d *driver) list(c command) (any, error) {
	if c.Healthy == nil {
		hosts, err := d.naming.SelectAllInstances(
			vo.SelectAllInstancesParam{ServiceName: c.Service, GroupName: c.Group, Clusters: c.Clusters})
		return text(hosts), err
	}
	hosts, err := d.naming.SelectInstances(vo.SelectInstancesParam{
		ServiceName: c.Service, GroupName: c.Group, Clusters: c.Clusters, HealthyOnly: *c.Healthy,
	})
	return text(hosts), err
}

func (d *driver) subscribe(c command) error {
	param := &vo.SubscribeParam{ServiceName: c.Service, GroupName: c.Group, Clusters: c.Clusters}
	param.SubscribeCallback = func(hosts []model.Instance, err error) {
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", c.Service, err)
			return
		}
		metadata := map[string]any{}
		for _, host := range hosts {
			metadata[fmt.Sprintf("%s:%d", host.Ip, host.Port)] = host.Metadata
		}
		say(map[string]any{"event": "change", "service": c.Service, "hosts": text(hosts), "metadata": metadata})
	}
	d.subscriptions[c.Group+"@@"+c.Service] = param
	return d.naming.Subscribe(param)
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if module.Path == sdk {
			return module.Version[1:]
		}
	}
	return "?"
}

func connect(servers, namespace string) (naming_client.INamingClient, error) {
	var nodes []constant.ServerConfig
	for _, server := range strings.Split(servers, ",") {
		host, port, err := net.SplitHostPort(server)
		if err != nil {
			return nil, err
		}
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, constant.ServerConfig{IpAddr: host, Port: number})
	}
	home := os.Getenv("HOME")
	return clients.NewNamingClient(vo.NacosClientParam{
		ClientConfig: &constant.ClientConfig{
			NamespaceId: namespace, TimeoutMs: 5000, NotLoadCacheAtStart: true,
			LogDir: home + "/log", CacheDir: home + "/cache", LogLevel: "error",
		},
		ServerConfigs: nodes,
	})
}

func main() {
	naming, err := connect(os.Args[1], os.Args[2])
	if err != nil {
		panic(err)
	}
	d := &driver{naming: naming, subscriptions: map[string]*vo.SubscribeParam{}}
	say(map[string]any{"event": "started", "version": version()})
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		c := command{Group: constant.DEFAULT_GROUP}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			panic(err)
		}
		if ok, err := d.act(c); err != nil {
			say(map[string]any{"id": c.ID, "error": err.Error()})
		} else {
			say(map[string]any{"id": c.ID, "ok": ok})
		}
	}
}
