package testproc

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/storage"
)

// fullSize makes the tests of scaling run at the production settings and longer.
const fullSizeEnv = "OPRC_TEST_FULL_SCALE"

// scaleArgs are the settings of the nodes: those of production for a full-size
// run, else a shorter wait before a vote.
func scaleArgs(t *testing.T) (args []string, soak time.Duration) {
	t.Helper()
	if os.Getenv(fullSizeEnv) != "" {
		return nil, 30 * time.Second
	}
	path := filepath.Join(t.TempDir(), "node.yaml")
	mustWrite(t, path, "cluster:\n  autopilot:\n    server_stabilization_time: 1s\n")
	return []string{"--config", path}, time.Second
}

// load is a number of clients that write and read through all nodes, each
// request tried once more, at another node, before it has failed.
type load struct {
	cluster *Cluster
	targets atomic.Pointer[[]*Node]
	serial  atomic.Int64

	mu       sync.Mutex // guards the fields below
	written  []string
	failures []string
	retried  int
	// slowest is the longest that one attempt took, and what it was.
	slowest     time.Duration
	slowestSent string
}

func newLoad(c *Cluster) *load {
	l := &load{cluster: c}
	l.aim()
	return l
}

// aim makes the clients use the nodes that the cluster has now.
func (l *load) aim() {
	targets := slices.Clone(l.cluster.Nodes)
	l.targets.Store(&targets)
}

// during runs the clients as long as fn does.
func (l *load) during(t *testing.T, fn func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for ctx.Err() == nil {
				l.once()
			}
		})
	}
	func() {
		defer clients.Wait()
		defer cancel()
		fn()
	}()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, failure := range l.failures[:min(len(l.failures), 10)] {
		t.Errorf("a request failed twice: %s", failure)
	}
	t.Logf("%d writes so far, %d requests sent again, the slowest attempt took %s (%s)", len(l.written), l.retried, l.slowest, l.slowestSent)
}

// once writes a package and reads it back elsewhere.
func (l *load) once() {
	name := "load-" + strconv.FormatInt(l.serial.Add(1), 10)
	header := http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {name}}
	if !l.send(http.MethodPost, "/api/v1/packages", header, packageBody(name, "1"), http.StatusCreated) {
		return
	}
	l.mu.Lock()
	l.written = append(l.written, name)
	l.mu.Unlock()
	l.send(http.MethodGet, "/api/v1/packages/"+name, nil, "", http.StatusOK)
}

// send tries a request, and once more.
func (l *load) send(method, path string, header http.Header, body string, want int) bool {
	var failures []string
	first := rand.IntN(1 << 20)
	for try := range 2 {
		targets := *l.targets.Load()
		n := targets[(first+try)%len(targets)]
		begin := time.Now()
		response, answer, err := l.cluster.Do(context.Background(), n, method, path, header, body)
		l.took(time.Since(begin), method+" at "+n.Name)
		if err == nil && response.StatusCode == want {
			return true
		}
		if err != nil {
			failures = append(failures, n.Name+": "+err.Error())
		} else {
			failures = append(failures, fmt.Sprintf("%s: status %d: %s", n.Name, response.StatusCode, answer))
		}
		l.mu.Lock()
		l.retried++
		l.mu.Unlock()
	}
	l.mu.Lock()
	l.failures = append(l.failures, fmt.Sprintf("%s %s: %v", method, path, failures))
	l.mu.Unlock()
	return false
}

func (l *load) took(d time.Duration, what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d > l.slowest {
		l.slowest, l.slowestSent = d, what
	}
}

// checkWritten asserts that every acknowledged write is there, at every node.
func (l *load) checkWritten(t *testing.T) {
	t.Helper()
	for _, n := range l.cluster.Nodes {
		there := listPackages(t, l.cluster, n)
		lost := 0
		for _, name := range l.written {
			if _, ok := there[name]; !ok {
				lost++
			}
		}
		if lost > 0 || len(l.written) == 0 {
			t.Errorf("%s lacks %d of %d acknowledged writes", n.Name, lost, len(l.written))
		}
	}
}

// grow adds nodes and waits until all are voters.
func (c *Cluster) grow(t *testing.T, to int) {
	t.Helper()
	from := len(c.Nodes)
	for i := from; i < to; i++ {
		name := "node-" + strconv.Itoa(i)
		c.Nodes = append(c.Nodes, &Node{Name: name, Index: i, Addrs: NewAddrs(t), DataDir: filepath.Join(c.dir, name)})
	}
	for i := from; i < to; i++ {
		c.Start(t, i)
	}
	c.waitServers(t, to)
	for i := from; i < to; i++ {
		c.WaitReady(t, i, 30*time.Second)
	}
}

// shrink makes the newest nodes leave, one after the other, until so many stay.
func (c *Cluster) shrink(t *testing.T, to int, left func()) {
	t.Helper()
	for len(c.Nodes) > to {
		n := c.Nodes[len(c.Nodes)-1]
		response, body, err := c.Do(t.Context(), n, http.MethodPost, "/api/v1/cluster/leave", nil, "")
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%s leaves: %v %s", n.Name, err, body)
		}
		if code := n.Wait(t, 20*time.Second); code != 0 {
			t.Errorf("%s ended with exit code %d after it left, want 0", n.Name, code)
		}
		c.Nodes = c.Nodes[:len(c.Nodes)-1]
		left()
		c.waitServers(t, len(c.Nodes))
	}
}

// waitServers waits until the cluster has so many servers, all healthy voters.
func (c *Cluster) waitServers(t *testing.T, want int) storage.ClusterState {
	t.Helper()
	var state storage.ClusterState
	waitFor(t, 60*time.Second, fmt.Sprintf("%d healthy voters", want), func() error {
		status, body, err := c.Get(c.Nodes[0], "/api/v1/cluster/health")
		if err != nil || status != http.StatusOK {
			return fmt.Errorf("status %d, %w: %s", status, err, body)
		}
		state = storage.ClusterState{}
		if err := json.Unmarshal(body, &state); err != nil {
			return err
		}
		if state.Voters != want || len(state.Servers) != want || !state.Healthy {
			return fmt.Errorf("state %s", body)
		}
		return nil
	})
	if tolerance := (want - 1) / 2; state.FailureTolerance != tolerance {
		t.Errorf("failure tolerance of %d voters is %d, want %d", want, state.FailureTolerance, tolerance)
	}
	return state
}

// TestScaleUnderLoad: one node becomes three, five, three and one again, while
// clients write and read. None of their requests fails twice, nothing is lost,
// and all replicas are equal.
func TestScaleUnderLoad(t *testing.T) {
	t.Parallel()
	args, soak := scaleArgs(t)
	c := NewCluster(t, 1, args...)
	l := newLoad(c)
	for _, size := range []int{3, 5, 3, 1} {
		begin := time.Now()
		l.during(t, func() {
			if size > len(c.Nodes) {
				c.grow(t, size)
			} else {
				c.shrink(t, size, l.aim)
			}
			l.aim()
			t.Logf("%d nodes after %s", size, time.Since(begin).Round(time.Millisecond))
			<-time.After(soak)
		})
		stopped := time.Now()
		c.CheckConverged(t, 20*time.Second)
		l.checkWritten(t)
		t.Logf("checked after %s", time.Since(stopped))
	}
}

// TestReplaceNodeUnderLoad: the leader, and then another node, is killed and
// comes back under its name with an empty disk, while clients write and read. It
// takes its old self's place by itself.
func TestReplaceNodeUnderLoad(t *testing.T) {
	t.Parallel()
	args, soak := scaleArgs(t)
	c := NewCluster(t, 3, args...)
	l := newLoad(c)
	for _, pick := range []func() *Node{
		func() *Node { return c.Leader(t, 10*time.Second) },
		func() *Node { return otherThan(c, c.Leader(t, 10*time.Second)) },
	} {
		begin := time.Now()
		l.during(t, func() {
			n := pick()
			before := c.waitServers(t, 3)
			n.Kill()
			if err := os.RemoveAll(n.DataDir); err != nil {
				t.Fatal(err)
			}
			c.Start(t, n.Index)
			c.WaitReady(t, n.Index, 30*time.Second)
			waitFor(t, 60*time.Second, "the old self to go", func() error {
				after := c.waitServers(t, 3)
				for _, s := range after.Servers {
					if s.Name == n.Name && !slices.ContainsFunc(before.Servers, func(old storage.ServerHealth) bool { return old.ID == s.ID }) {
						return nil
					}
				}
				return fmt.Errorf("servers %+v", after.Servers)
			})
			t.Logf("%s replaced after %s", n.Name, time.Since(begin).Round(time.Millisecond))
			<-time.After(soak)
		})
		c.CheckConverged(t, 20*time.Second)
		l.checkWritten(t)
	}
}
