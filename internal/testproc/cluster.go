package testproc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/storage"
)

// Node is one server of a Cluster. Process changes with every start: only the
// goroutine that starts and stops nodes may use it; the rest is for all.
type Node struct {
	*Process
	Name    string
	Index   int
	Addrs   Addrs
	DataDir string
}

// URL of a path on the node.
func (n *Node) URL(path string) string { return "http://" + n.Addrs.HTTP + path }

// Running reports whether the node's process runs.
func (n *Node) Running() bool {
	if n.Process == nil {
		return false
	}
	select {
	case <-n.done:
		return false
	default:
		return true
	}
}

// Cluster is a number of servers that know of each other.
type Cluster struct {
	Nodes []*Node
	dir   string
	args  []string
	// HTTP has a short timeout and keeps connections apart from other tests.
	HTTP *http.Client
}

// NewCluster starts n servers, with args in addition to their addresses, and
// waits until all are ready.
func NewCluster(t testing.TB, n int, args ...string) *Cluster {
	t.Helper()
	c := &Cluster{dir: dataDir(t), args: args}
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	c.HTTP = &http.Client{Transport: transport, Timeout: 15 * time.Second}
	t.Cleanup(transport.CloseIdleConnections)
	for i := range n {
		c.Nodes = append(c.Nodes, &Node{Name: "node-" + strconv.Itoa(i), Index: i, Addrs: NewAddrs(t), DataDir: filepath.Join(c.dir, "node-"+strconv.Itoa(i))})
	}
	for i := range n {
		c.Start(t, i)
	}
	for i := range n {
		c.WaitReady(t, i, 30*time.Second)
	}
	return c
}

// Start starts node i at its present addresses.
func (c *Cluster) Start(t testing.TB, i int) {
	t.Helper()
	n := c.Nodes[i]
	var seeds []string
	for _, peer := range c.Nodes {
		if len(c.Nodes) > 1 {
			seeds = append(seeds, peer.Addrs.Gossip)
		}
	}
	args := []string{
		"server", "--node-name", n.Name, "--data-dir", n.DataDir,
		"--http-addr", n.Addrs.HTTP, "--cluster-addr", n.Addrs.Cluster, "--gossip-addr", n.Addrs.Gossip,
		"--advertise-host", n.Addrs.Host, "--bootstrap-expect", strconv.Itoa(len(c.Nodes)),
	}
	if len(seeds) > 0 {
		args = append(args, "--join", strings.Join(seeds, ","))
	}
	n.Process = Start(t, n.Name, c.dir, append(args, c.args...)...)
}

// WaitReady waits until node i says that it is ready.
func (c *Cluster) WaitReady(t testing.TB, i int, limit time.Duration) {
	t.Helper()
	n := c.Nodes[i]
	waitFor(t, limit, n.Name+" ready", func() error {
		if !n.Running() {
			t.Fatalf("%s ended: %v", n.Name, n.err)
		}
		status, body, err := c.Get(n, "/readyz")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("status %d: %s", status, body)
		}
		return err
	})
}

// Get reads a path of a node.
func (c *Cluster) Get(n *Node, path string) (status int, body []byte, err error) {
	response, err := c.HTTP.Get(n.URL(path))
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, body, err
}

// GetJSON reads a document of a node.
func (c *Cluster) GetJSON(n *Node, path string, into any) error {
	status, body, err := c.Get(n, path)
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("get %s: status %d: %s", path, status, body)
	}
	return json.Unmarshal(body, into)
}

// Members is the cluster as node n sees it.
func (c *Cluster) Members(n *Node) (members []storage.Member, err error) {
	err = c.GetJSON(n, "/api/v1/members", &members)
	return members, err
}

// Leader waits until every running node names the same living leader, and
// returns it.
func (c *Cluster) Leader(t testing.TB, limit time.Duration) *Node {
	t.Helper()
	var leader *Node
	waitFor(t, limit, "one leader", func() error {
		leader = nil
		for _, n := range c.Nodes {
			if !n.Running() {
				continue
			}
			seen, err := c.leaderSeenBy(n)
			if err != nil {
				return err
			}
			if leader != nil && leader != seen {
				return fmt.Errorf("%s follows %s, others %s", n.Name, seen.Name, leader.Name)
			}
			leader = seen
		}
		if leader == nil || !leader.Running() {
			return errors.New("no living leader")
		}
		return nil
	})
	return leader
}

func (c *Cluster) leaderSeenBy(n *Node) (*Node, error) {
	members, err := c.Members(n)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		if m.Role != storage.RoleLeader || !m.Alive {
			continue
		}
		for _, candidate := range c.Nodes {
			if candidate.Name == m.Name {
				return candidate, nil
			}
		}
	}
	return nil, fmt.Errorf("%s sees no leader among %+v", n.Name, members)
}

// CheckConverged waits until all nodes have applied the same index with the same
// digest.
func (c *Cluster) CheckConverged(t testing.TB, limit time.Duration) {
	t.Helper()
	waitFor(t, limit, "equal digests", func() error {
		members, err := c.Members(c.Nodes[0])
		if err != nil {
			return err
		}
		if len(members) != len(c.Nodes) {
			return fmt.Errorf("%d members, want %d", len(members), len(c.Nodes))
		}
		for _, m := range members {
			if !m.Alive || m.Error != "" {
				return fmt.Errorf("%s does not answer: %s", m.Name, m.Error)
			}
			if m.DigestIndex == members[0].DigestIndex && m.Digest != members[0].Digest {
				t.Fatalf("digests differ at index %d: %+v", m.DigestIndex, members)
			}
			if m.Digest == "" || m.Digest != members[0].Digest || m.AppliedIndex != members[0].AppliedIndex {
				return fmt.Errorf("%s is at %d, %s at %d", m.Name, m.AppliedIndex, members[0].Name, members[0].AppliedIndex)
			}
		}
		return nil
	})
}

// Do sends a request to a node and reads the whole answer.
func (c *Cluster) Do(ctx context.Context, n *Node, method, path string, header http.Header, body string) (*http.Response, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, n.URL(path), strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	response, err := c.HTTP.Do(request)
	if err != nil {
		return nil, nil, err
	}
	answer, err := io.ReadAll(response.Body)
	return response, answer, errors.Join(err, response.Body.Close())
}
