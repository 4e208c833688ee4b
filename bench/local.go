package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
)

// LocalConfig describes a cluster on this host.
type LocalConfig struct {
	// Executable is the program, whose verb server is a node.
	Executable string
	// Env is the whole environment of the nodes.
	Env   []string
	Nodes int
	// Dir takes the data and the logs of the nodes.
	Dir string
	// Args are added to every node's.
	Args []string
	// CPUProfileDir, when not empty, takes a CPU profile of every node, which
	// ProfileVerb makes (see Host).
	CPUProfileDir string
	ProfileVerb   []string
}

// Local is a cluster of nodes on loopback, each a process, all of this harness.
type Local struct {
	nodes []*child
}

// readyTimeout is for one request that asks whether a node is ready.
const readyTimeout = 5 * time.Second

// StartLocal starts the nodes and waits until each is ready. The first is the
// seed that the others join.
func StartLocal(ctx context.Context, cfg LocalConfig) (*Local, error) {
	l := new(Local)
	if err := l.start(ctx, cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("start a cluster of %d: %w", cfg.Nodes, err), l.Close())
	}
	return l, nil
}

func (l *Local) start(ctx context.Context, cfg LocalConfig) error {
	if cfg.Nodes < 1 {
		return errors.New("it has no nodes")
	}
	seed, err := freeAddr()
	if err != nil {
		return fmt.Errorf("find a free port: %w", err)
	}
	for i := range cfg.Nodes {
		node, err := startNode(ctx, cfg, i+1, seed)
		if err != nil {
			return err
		}
		l.nodes = append(l.nodes, node)
	}
	for _, node := range l.nodes {
		if err := node.poll(ctx, "become ready", func() (bool, error) { return isReady(ctx, node.ready.HTTPAddr), nil }); err != nil {
			return fmt.Errorf("%s: %w", node.cfg.name, err)
		}
	}
	return nil
}

// freeAddr finds a loopback address that is free for TCP and UDP. Only the seed's
// must be known before it listens; all other ports are the system's choice.
func freeAddr() (string, error) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", tcp.Addr().String())
	if err != nil {
		return "", err
	}
	return tcp.Addr().String(), udp.Close()
}

// startNode starts node number i (from 1). The first listens for gossip at seed.
func startNode(ctx context.Context, cfg LocalConfig, i int, seed string) (*child, error) {
	name := fmt.Sprintf("n%d", i)
	dir := filepath.Join(cfg.Dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	readyFile := filepath.Join(dir, "ready.json")
	gossip := seed
	if i > 1 {
		gossip = "127.0.0.1:0"
	}
	args := []string{
		"server",
		"--node-name", name,
		"--data-dir", filepath.Join(dir, "data"),
		"--http-addr", "127.0.0.1:0",
		"--cluster-addr", "127.0.0.1:0",
		"--gossip-addr", gossip,
		"--bootstrap-expect", fmt.Sprint(cfg.Nodes),
		"--ready-file", readyFile,
	}
	if cfg.Nodes > 1 {
		args = append(args, "--join", seed)
	}
	args = append(args, cfg.Args...)
	if cfg.CPUProfileDir != "" {
		profile := filepath.Join(cfg.CPUProfileDir, fmt.Sprintf("%s-of-%d.pprof", name, cfg.Nodes))
		args = slices.Concat(cfg.ProfileVerb, []string{"--out", profile, "--"}, args)
	}
	return startChild(ctx, childConfig{
		name: name, executable: cfg.Executable, args: args, env: cfg.Env,
		readyFile: readyFile, logFile: filepath.Join(dir, "log"),
	})
}

func isReady(ctx context.Context, addr string) bool {
	c := newConnection(addr, readyTimeout)
	defer c.close()
	_, err := c.call(ctx, fasthttp.MethodGet, "/readyz", nil)
	return err == nil
}

// Addrs are the HTTP addresses of the nodes.
func (l *Local) Addrs() []string {
	addrs := make([]string, len(l.nodes))
	for i, node := range l.nodes {
		addrs[i] = node.ready.HTTPAddr
	}
	return addrs
}

// Processes are those of the nodes.
func (l *Local) Processes() []Process {
	processes := make([]Process, len(l.nodes))
	for i, node := range l.nodes {
		processes[i] = node.process()
	}
	return processes
}

// Close stops all nodes at once and waits for them. It may be called more than
// once.
func (l *Local) Close() error {
	errs := make([]error, len(l.nodes))
	var group sync.WaitGroup
	for i, node := range l.nodes {
		group.Go(func() { errs[i] = node.stop() })
	}
	group.Wait()
	return errors.Join(errs...)
}

// Vias are the values of Route.
var Vias = []string{"all", "leader", "follower"}

// Route returns those of addrs that a load goes to: all, the leader's, or the
// followers'. Which is which the cluster is asked. Members that are reached by
// other addresses than they advertise cannot be told apart.
func Route(ctx context.Context, addrs []string, via string, timeout time.Duration) ([]string, error) {
	if via == "" || via == Vias[0] {
		return addrs, nil
	}
	if via != Vias[1] && via != Vias[2] {
		return nil, fmt.Errorf("via %q is not one of %s", via, strings.Join(Vias, ", "))
	}
	members, err := Members(ctx, addrs[0], timeout)
	if err != nil {
		return nil, err
	}
	var chosen []string
	for _, m := range members {
		if (m.Role == "leader") == (via == Vias[1]) {
			for _, addr := range addrs {
				if addr == m.HTTPAddr {
					chosen = append(chosen, addr)
				}
			}
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("none of %s is a %s of the cluster", strings.Join(addrs, ", "), via)
	}
	return chosen, nil
}
