package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/cluster"
	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/httpapi"
	"github.com/oprc/oprc-pm/internal/config"
)

// serverArgs is a node alone on loopback.
func serverArgs(dir string, more ...string) []string {
	return append([]string{"server", "--node-name", "n1", "--data-dir", filepath.Join(dir, "data"),
		"--http-addr", "127.0.0.1:0", "--cluster-addr", "127.0.0.1:0", "--gossip-addr", "127.0.0.1:0",
		"--ready-file", filepath.Join(dir, "ready.json")}, more...)
}

func awaitReadyFile(t *testing.T, path string) readiness {
	t.Helper()
	var ready readiness
	waitFor(t, "ready file", func() error {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return json.Unmarshal(data, &ready)
	})
	return ready
}

// A node writes where it is, serves, ends cleanly, and knows everything again.
func TestServerKeepsItsDataOverARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round, want := range []string{"created", "unchanged"} {
		node := inBackground(t, []string{"LOG_LEVEL=info", "LOG_FORMAT=json"}, serverArgs(dir)...)
		ready := awaitReadyFile(t, filepath.Join(dir, "ready.json"))
		if ready.PID != os.Getpid() || ready.ClusterAddr == "" || ready.GossipAddr == "" {
			t.Errorf("ready file: %+v", ready)
		}
		server := "http://" + ready.HTTPAddr
		r := cli(t, server, "name: kept\nversion: 1\n", "apply", "-f", "-").want(t, exitOK)
		equal(t, r.out, "package/kept "+want+"\n")
		r = cli(t, server, "", "cluster", "members").want(t, exitOK)
		contains(t, r.out, "n1     leader   yes     yes     "+ready.HTTPAddr)
		if code := node.end(t); code != exitOK {
			t.Fatalf("round %d: exit code %d\n%s", round, code, node.err.String())
		}
		contains(t, node.err.String(), `"msg":"node is up"`, `"msg":"stopped"`)
		if err := os.Remove(filepath.Join(dir, "ready.json")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestServerRefusesATakenPort(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	dir := t.TempDir()
	r := cli(t, "", "", serverArgs(dir, "--http-addr", taken.Addr().String())...).want(t, exitFailure)
	contains(t, r.err, "error: open the API: listen on "+taken.Addr().String())
	if _, err := os.Stat(filepath.Join(dir, "data")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data directory was touched: %v", err)
	}
}

// A fault of the store ends the node with its own exit code and the reason.
func TestServerEndsOnAFault(t *testing.T) {
	t.Parallel()
	logger, err := newLogger(&buffer{}, config.DefaultConfig().Observability)
	if err != nil {
		t.Fatal(err)
	}
	cfg := devConfig(devOptions{dataDir: t.TempDir(), httpAddr: "127.0.0.1:0", logLevel: "error"})
	cfg.Storage.Type = config.StorageMemory
	s, err := startService(t.Context(), cfg, logger)
	if err != nil {
		t.Fatal(err)
	}
	s.fail(errors.New("the disk is gone"))
	var errOut buffer
	p := &program{out: &errOut, err: &errOut}
	if code, want := p.finish(t.Context(), p.serve(t.Context(), s, "", nil)), exitFault; code != want {
		t.Errorf("exit code: got %d, want %d", code, want)
	}
	contains(t, errOut.String(), "error: the node was stopped by a fault: the disk is gone\n")
}

func TestPrintConfig(t *testing.T) {
	t.Parallel()
	file := tempFile(t, "config.yaml", "server: {port: 1111}\ncluster:\n  node_name: from-file\n  data_dir: /from/file\n"+
		"crm: {clusters: {edge: {base_url: 'http://edge', authentication: {auth_type: Bearer, token: '${TOKEN}'}}}}\n")
	r := runIn(t.Context(), []string{"TOKEN=canary-1", "OPRC_NODE_NAME=from-env", "OPRC_DATA_DIR=/from/env"}, "",
		"server", "--config", file, "--data-dir", "/from/flag", "--print-config").want(t, exitOK)
	contains(t, r.out, "http_addr: 0.0.0.0:1111\n", "node_name: from-env\n", "data_dir: /from/flag\n", "auth_type: bearer\n", `token: '********'`)
	if strings.Contains(r.out, "canary") {
		t.Errorf("a secret is shown:\n%s", r.out)
	}
}

func TestServerConfigErrors(t *testing.T) {
	t.Parallel()
	file := tempFile(t, "config.yaml", "sever: {}\ncluster:\n  bootstrap_expct: 3\n")
	r := cli(t, "", "", "server", "--config", file).want(t, exitUsage)
	contains(t, r.err, "error: the configuration cannot be read:\n", "config.yaml: line 1: sever: unknown key, did you mean server?\n",
		"config.yaml: line 3: cluster.bootstrap_expct: unknown key, did you mean bootstrap_expect?\n")
	r = cli(t, "", "", "server", "--http-addr", "x", "--bootstrap-expect", "3", "--node-name", "a b").want(t, exitUsage)
	contains(t, r.err, "error: the configuration is invalid:\n", "server.http_addr: ", "cluster.node_name: ", "cluster.join: must name a node")
}

// The defaults that the reference file shows are those of the parts.
func TestDefaultsAreThoseOfTheParts(t *testing.T) {
	t.Parallel()
	got, want := clusterConfig(config.DefaultConfig(), ""), cluster.DefaultConfig()
	want.DataDir, want.Version = got.DataDir, got.Version
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("cluster (-its default +ours):\n%s", diff)
	}
	if diff := cmp.Diff(httpapi.DefaultConfig(), httpConfig(config.DefaultConfig())); diff != "" {
		t.Errorf("httpapi (-its default +ours):\n%s", diff)
	}
	cfg := config.DefaultConfig()
	one := config.DefaultCRMCluster()
	one.BaseURL = "http://edge"
	cfg.CRM.Clusters = map[string]config.CRMCluster{"edge": one}
	gotCRM, err := crmConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	wantCRM := crm.DefaultConfig()
	wantCRM.Clusters = map[string]crm.ClusterConfig{"edge": crm.DefaultClusterConfig("edge", "http://edge")}
	if !reflect.DeepEqual(gotCRM, wantCRM) {
		t.Errorf("crm: got %+v, want %+v", gotCRM, wantCRM)
	}
}

func TestAdvertisedHTTP(t *testing.T) {
	t.Parallel()
	bound := func(text string) net.Addr {
		addr, err := net.ResolveTCPAddr("tcp", text)
		if err != nil {
			t.Fatal(err)
		}
		return addr
	}
	for name, test := range map[string]struct{ bound, advertise, cluster, want string }{
		"bound to one":        {"127.0.0.1:80", "pm-0.pm", "0.0.0.0:7000", "127.0.0.1:80"},
		"advertised name":     {"0.0.0.0:80", "pm-0.pm", "127.0.0.1:7000", "pm-0.pm:80"},
		"advertised name, v6": {"[::]:80", "pm-0.pm", "0.0.0.0:7000", "pm-0.pm:80"},
		"as the cluster port": {"0.0.0.0:80", "", "127.0.0.1:7000", "127.0.0.1:80"},
	} {
		cfg := config.DefaultConfig()
		cfg.Cluster.AdvertiseHost, cfg.Cluster.ClusterAddr = test.advertise, test.cluster
		if got := advertisedHTTP(cfg, bound(test.bound)); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
	if got := advertisedHTTP(config.DefaultConfig(), bound("0.0.0.0:80")); strings.HasPrefix(got, "0.0.0.0") {
		t.Errorf("all interfaces are advertised: %q", got)
	}
}

// What hangs on a connection cannot keep the node from ending in time.
func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	s, _ := startNodeWith(t, func(*config.Config) {})
	watcher, err := net.Dial("tcp", s.advertised)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = watcher.Close() })
	if _, err := watcher.Write([]byte("GET /api/v1/watch HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(watcher).ReadString('\n'); err != nil || !strings.Contains(line, " 200 ") {
		t.Fatalf("the watch did not begin: %q, %v", line, err)
	}
	half, err := net.Dial("tcp", s.advertised)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = half.Close() })
	if _, err := half.Write([]byte("PUT /api/v1/packages/x HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if err := s.stop(2 * time.Second); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("stopping took %v", took)
	}
}

func TestDev(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready.json")
	args := []string{"dev", "--data-dir", filepath.Join(dir, "data"), "--http-addr", "127.0.0.1:0", "--ready-file", ready}
	node := inBackground(t, nil, append(args, "--apply", example)...)
	waitForText(t, &node.out, "package/example created\ndeployment/Record created\n", "Record       RUNNING     oaas-1    record-",
		"\nThe node is up.", "API      http://127.0.0.1:")
	begun := time.Now()
	if code := node.end(t); code != exitOK {
		t.Errorf("exit code %d\n%s", code, node.err.String())
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %v to end", took)
	}

	node = inBackground(t, nil, args...)
	waitForText(t, &node.out, "\nThe node is up.")
	server := "http://" + awaitReadyFile(t, ready).HTTPAddr
	r := cli(t, server, "", "get", "deployments").want(t, exitOK)
	contains(t, r.out, "Record   example   Record   RUNNING")
}

// A mistake in what is to be applied is told before anything starts.
func TestDevChecksBeforeItStarts(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	cli(t, "", "", "dev", "--data-dir", dir, "--apply", tempFile(t, "bad.yml", "name: ''\nversion: 1\n")).want(t, exitUsage)
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data directory was touched: %v", err)
	}
}

func TestCRMSim(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	simulated := inBackground(t, nil, "crm-sim", "--name", "edge", "--listen", addr, "--nodes", "7", "--state-dir", filepath.Join(t.TempDir(), "state"))
	waitForText(t, &simulated.err, "simulated crm serves")

	s, _ := startNodeWith(t, func(c *config.Config) {
		cluster := config.DefaultCRMCluster()
		cluster.BaseURL = "http://" + addr
		c.CRM.Clusters["edge"] = cluster
	})
	waitFor(t, "health of the cluster", func() error {
		if r := cli(t, "http://"+s.advertised, "", "get", "cluster/edge"); !strings.Contains(r.out, "Healthy   7/7") {
			return fmt.Errorf("it is %q", r.out)
		}
		return nil
	})
	if code := simulated.end(t); code != exitOK {
		t.Errorf("exit code %d\n%s", code, simulated.err.String())
	}
}
