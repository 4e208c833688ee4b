// Package testetcd runs real etcd servers in the test binary: one, or several that
// form a cluster and can be stopped and started one by one. Their data is in the
// test's temporary folder, and their disks are not synced unless asked, since no
// test here is about etcd's own promises.
package testetcd

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// Cluster is a running etcd.
type Cluster struct {
	t       testing.TB
	configs []*embed.Config
	servers []*embed.Etcd
}

// Option changes the configuration of every member.
type Option func(*embed.Config)

// Start starts members etcd servers, which stop when the test ends.
func Start(t testing.TB, members int, opts ...Option) *Cluster {
	t.Helper()
	c := &Cluster{t: t, servers: make([]*embed.Etcd, members)}
	var initial []string
	for i := range members {
		cfg := member(t, i)
		initial = append(initial, cfg.Name+"="+cfg.ListenPeerUrls[0].String())
		for _, opt := range opts {
			opt(cfg)
		}
		c.configs = append(c.configs, cfg)
	}
	for _, cfg := range c.configs {
		cfg.InitialCluster = strings.Join(initial, ",")
	}
	t.Cleanup(func() {
		for i := range c.servers {
			c.Stop(i)
		}
	})
	// A member is ready when most are there, so all are started before any is
	// waited for.
	for i := range members {
		c.start(i)
	}
	for i := range members {
		c.ready(i)
	}
	return c
}

func member(t testing.TB, i int) *embed.Config {
	t.Helper()
	cfg := embed.NewConfig()
	cfg.Name = fmt.Sprintf("etcd%d", i)
	cfg.Dir = filepath.Join(t.TempDir(), cfg.Name)
	client, peer := freeURL(t), freeURL(t)
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.LogLevel = "panic"
	cfg.UnsafeNoFsync = true
	// Short, so that a lost leader costs a test little, and long enough for a busy
	// machine.
	cfg.TickMs, cfg.ElectionMs = 50, 500
	return cfg
}

// freeURL is an address where nobody listens at present.
func freeURL(t testing.TB) url.URL {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return url.URL{Scheme: "http", Host: l.Addr().String()}
}

// Client is a client of all members, for what a node does not do.
func (c *Cluster) Client() *clientv3.Client {
	c.t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: c.Endpoints(), DialTimeout: 10 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if err := client.Close(); err != nil {
			c.t.Errorf("close the client of etcd: %v", err)
		}
	})
	return client
}

// Endpoints are the addresses of the members' client ports.
func (c *Cluster) Endpoints() []string {
	var endpoints []string
	for _, cfg := range c.configs {
		endpoints = append(endpoints, cfg.ListenClientUrls[0].Host)
	}
	return endpoints
}

// Leader is the member that leads, or -1.
func (c *Cluster) Leader() int {
	for i, server := range c.servers {
		if server != nil && uint64(server.Server.MemberID()) == server.Server.Lead() {
			return i
		}
	}
	return -1
}

// Stop stops a member; its data stays.
func (c *Cluster) Stop(i int) {
	if server := c.servers[i]; server != nil {
		c.servers[i] = nil
		server.Close()
	}
}

// Kill cuts a member off from the others, so that it can hand nothing over, and stops
// it. (The server's own hard stop takes its database away under calls that it still
// serves.)
func (c *Cluster) Kill(i int) {
	server := c.servers[i]
	if server == nil {
		return
	}
	id := server.Server.MemberID()
	var others []*embed.Etcd
	for _, other := range c.servers {
		if other != nil && other != server {
			others = append(others, other)
			other.Server.CutPeer(id)
			server.Server.CutPeer(other.Server.MemberID())
		}
	}
	c.Stop(i)
	for _, other := range others {
		other.Server.MendPeer(id)
	}
}

// Restart starts a stopped member on its data, and waits until it takes part.
func (c *Cluster) Restart(i int) {
	c.t.Helper()
	c.start(i)
	c.ready(i)
}

func (c *Cluster) start(i int) {
	c.t.Helper()
	server, err := embed.StartEtcd(c.configs[i])
	if err != nil {
		c.t.Fatalf("start etcd member %d: %v", i, err)
	}
	c.servers[i] = server
}

func (c *Cluster) ready(i int) {
	c.t.Helper()
	select {
	case <-c.servers[i].Server.ReadyNotify():
	case err := <-c.servers[i].Err():
		c.t.Fatalf("etcd member %d: %v", i, err)
	case <-time.After(30 * time.Second):
		c.t.Fatalf("etcd member %d is not ready after 30 s", i)
	}
}
