package etcd_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/oprc/oprc-pm/internal/testetcd"
	"github.com/oprc/oprc-pm/internal/testtls"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/etcd"
)

// wantRefused checks that no node can be opened, and what the error says.
func wantRefused(t *testing.T, cfg etcd.Config, limit time.Duration, texts ...string) {
	t.Helper()
	began := time.Now()
	_, err := tryOpen(t, cfg, "refused")
	if err == nil {
		t.Fatal("the node was opened")
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
	if took := time.Since(began); took > limit {
		t.Errorf("it took %v to say so", took)
	}
}

func TestOpenUnreachable(t *testing.T) {
	t.Parallel()
	cfg := etcd.DefaultConfig()
	cfg.RequestTimeout = time.Second
	t.Run("nobody_listens", func(t *testing.T) {
		t.Parallel()
		cfg := cfg
		cfg.Endpoints = []string{"127.0.0.1:1"}
		wantRefused(t, cfg, 5*time.Second, "127.0.0.1:1", "connection refused")
	})
	t.Run("nobody_answers", func(t *testing.T) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		cfg := cfg
		cfg.Endpoints = []string{l.Addr().String()}
		wantRefused(t, cfg, 5*time.Second, l.Addr().String(), "deadline exceeded")
	})
}

func TestOpenRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	client := servers.Client()
	cases := map[string]struct {
		change func(cfg etcd.Config)
		want   string
	}{
		"newer": {func(cfg etcd.Config) {
			if _, err := client.Put(t.Context(), cfg.Prefix+"/system/head", `{"format":2,"index":7}`); err != nil {
				t.Fatal(err)
			}
		}, "upgrade this node"},
		"changed": {func(cfg etcd.Config) {
			if _, err := client.Put(t.Context(), cfg.Prefix+"/clusters/x", `{}`); err != nil {
				t.Fatal(err)
			}
		}, "changed by something else"},
		"headless": {func(cfg etcd.Config) {
			if _, err := client.Delete(t.Context(), cfg.Prefix+"/system/head"); err != nil {
				t.Fatal(err)
			}
		}, "no system/head"},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(servers, "/"+name)
			node := open(t, cfg, "first")
			put(t, node, "p", "1")
			if err := node.Close(); err != nil {
				t.Fatal(err)
			}
			test.change(cfg)
			wantRefused(t, cfg, 10*time.Second, test.want)
		})
	}
}

// TestManyNodesFoundOneState opens nodes on an empty etcd at the same moment.
func TestManyNodesFoundOneState(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	nodes := make([]*etcd.Store, 5)
	var all sync.WaitGroup
	for i := range nodes {
		all.Go(func() {
			var err error
			if nodes[i], err = tryOpen(t, config(servers, "/found"), "n"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, node := range nodes {
		if got, want := node.Status().ClusterID, nodes[0].Status().ClusterID; got != want || want == "" {
			t.Errorf("cluster ids %q and %q", got, want)
		}
	}
	put(t, nodes[0], "p", "1")
	for _, node := range nodes {
		wantValue(t, node, "p", "1")
	}
	sameState(t, nodes...)
}

// TestNeighboursAreLeftAlone keeps keys of others under the prefix and beside it.
func TestNeighboursAreLeftAlone(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	client := servers.Client()
	foreign := []string{"/pm", "/pm2/packages/x", "/pm/of-another-program", "/pm/artifacts/x"}
	for _, key := range foreign {
		if _, err := client.Put(t.Context(), key, "theirs"); err != nil {
			t.Fatal(err)
		}
	}
	cfg := config(servers, "/pm")
	node := open(t, cfg, "a")
	leads(t, node)
	if _, err := client.Put(t.Context(), "/pm/also-later", "theirs"); err != nil {
		t.Fatal(err)
	}
	put(t, node, "p", "1")
	sameState(t, node, open(t, cfg, "b"))
	for _, key := range append(foreign, "/pm/also-later") {
		if resp, err := client.Get(t.Context(), key); err != nil || len(resp.Kvs) != 1 || string(resp.Kvs[0].Value) != "theirs" {
			t.Errorf("%s was touched: %v, %v", key, resp, err)
		}
	}
}

// TestPasswordAndTLS runs over an etcd that wants both.
func TestPasswordAndTLS(t *testing.T) {
	t.Parallel()
	ca := testtls.NewCA(t)
	dir := t.TempDir()
	certFile, keyFile := testtls.WritePair(t, dir, "server", ca.Server(t, "127.0.0.1", "localhost"))
	servers := testetcd.Start(t, 1, func(cfg *embed.Config) {
		u := cfg.ListenClientUrls[0]
		u.Scheme = "https"
		cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{u}, []url.URL{u}
		cfg.ClientTLSInfo.CertFile, cfg.ClientTLSInfo.KeyFile = certFile, keyFile
		cfg.EnableGRPCGateway = false
		cfg.BcryptCost = 4
	})
	trust := &tls.Config{RootCAs: ca.Pool()}
	admin, err := clientv3.New(clientv3.Config{Endpoints: servers.Endpoints(), TLS: trust, DialTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	grant(t, admin)
	cfg := config(servers, "/secret")
	cfg.RequestTimeout = 5 * time.Second
	cfg.TLS = trust
	t.Run("ok", func(t *testing.T) {
		cfg := cfg
		cfg.Username, cfg.Password = "pm", "right"
		node := open(t, cfg, "a")
		leads(t, node)
		put(t, node, "p", "1")
		wantValue(t, open(t, cfg, "b"), "p", "1")
	})
	t.Run("err_password", func(t *testing.T) {
		cfg := cfg
		cfg.Username, cfg.Password = "pm", "wrong"
		wantRefused(t, cfg, 10*time.Second, "authentication failed")
	})
	t.Run("err_no_user", func(t *testing.T) {
		wantRefused(t, cfg, 10*time.Second, "user name is empty")
	})
	t.Run("err_forbidden", func(t *testing.T) {
		cfg := cfg
		cfg.Username, cfg.Password, cfg.Prefix = "pm", "right", "/not-mine"
		wantRefused(t, cfg, 10*time.Second, "permission denied")
	})
	t.Run("err_unknown_authority", func(t *testing.T) {
		cfg := cfg
		cfg.Username, cfg.Password, cfg.TLS = "pm", "right", &tls.Config{RootCAs: testtls.NewCA(t).Pool()}
		wantRefused(t, cfg, 10*time.Second, "certificate")
	})
}

// grant makes a user pm for the prefix /secret, and turns authentication on.
func grant(t *testing.T, admin *clientv3.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, step := range []func() error{
		func() error { _, err := admin.UserAdd(ctx, "root", "root"); return err },
		func() error { _, err := admin.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := admin.UserAdd(ctx, "pm", "right"); return err },
		func() error { _, err := admin.RoleAdd(ctx, "pm"); return err },
		func() error {
			_, err := admin.RoleGrantPermission(ctx, "pm", "/secret/", clientv3.GetPrefixRangeEnd("/secret/"),
				clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := admin.UserGrantRole(ctx, "pm", "pm"); return err },
		func() error { _, err := admin.AuthEnable(ctx); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestClose is prompt while etcd can be reached, and bounded while it cannot.
func TestClose(t *testing.T) {
	t.Parallel()
	servers := testetcd.Start(t, 1)
	cases := map[string]struct {
		trouble func(p *testetcd.Proxy)
		limit   time.Duration
	}{
		"ok_reachable": {func(*testetcd.Proxy) {}, 700 * time.Millisecond},
		"ok_refused":   {(*testetcd.Proxy).Cut, 5 * time.Second},
		"ok_silent":    {(*testetcd.Proxy).Freeze, 5 * time.Second},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(servers, "/close/"+name)
			leader, leaderProxy := behind(t, servers, cfg, "leader")
			leads(t, leader)
			follower, followerProxy := behind(t, servers, cfg, "follower")
			ctx := within(t, patience)
			ended := make(chan error, 1)
			go func() { ended <- leader.Lead(ctx, func(ctx context.Context, _ uint64) { <-ctx.Done() }) }()
			put(t, follower, "p", "1")
			test.trouble(leaderProxy)
			test.trouble(followerProxy)
			for _, node := range []*etcd.Store{follower, leader} {
				began := time.Now()
				if err := node.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
				if took := time.Since(began); took > test.limit {
					t.Errorf("closing the %s took %v", node.Status().NodeName, took)
				}
			}
			if err := <-ended; !errors.Is(err, storage.ErrClosed) {
				t.Errorf("lead: %v", err)
			}
			leaderProxy.Heal()
			followerProxy.Heal()
		})
	}
}
