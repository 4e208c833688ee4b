package inventory

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/VictoriaMetrics/metrics"

	"github.com/oprc/oprc-pm/cluster"
	"github.com/oprc/oprc-pm/internal/testcluster"
	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// onEveryNode checks each inventory against its own node's state, once all have
// applied index.
func onEveryNode(t *testing.T, c *testcluster.Cluster, inventories []*Inventory, index uint64) {
	t.Helper()
	c.WaitApplied(t, index)
	for n, i := range inventories {
		want, at := scan(t, c.Node(n))
		if err := i.WaitFor(t.Context(), at); err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff(want, ask(i)); diff != "" {
			t.Fatalf("node %d at index %d: scan -, inventory +:\n%s", n, at, diff)
		}
	}
}

// write applies commands through a node and returns the last index.
func write(t *testing.T, node *cluster.Node, commands ...storage.Command) (index uint64) {
	t.Helper()
	for _, command := range commands {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		result, err := node.Apply(ctx, storage.Request{Command: command})
		cancel()
		if err != nil && result.Err() == nil {
			t.Fatalf("apply %T: %v", command, err)
		}
		index = max(index, result.Index)
	}
	return index
}

// It is not parallel: the cluster looks for leaked goroutines at its end.
func TestEveryNodeOfARaftClusterAgrees(t *testing.T) {
	nodes := testcluster.New(t, 3, testcluster.WithConfig(func(_ int, cfg *cluster.Config) {
		cfg.SnapshotInterval, cfg.SnapshotThreshold, cfg.TrailingLogs = 20*time.Millisecond, 20, 5
	}))
	var inventories []*Inventory
	var sets []*metrics.Set
	for n := range 3 {
		set := metrics.NewSet()
		i := New(nodes.Node(n), nil, set)
		runInventory(t, i)
		<-i.Ready()
		inventories, sets = append(inventories, i), append(sets, set)
	}
	leader := nodes.Leader(t)
	random := chaos{t, rand.New(rand.NewPCG(3, 3))}
	some := func(count int) (commands []storage.Command) {
		for range count {
			commands = append(commands, random.command())
		}
		return commands
	}
	index := write(t, nodes.Node(leader), putPackage(t, "shop", classNames...))
	onEveryNode(t, nodes, inventories, max(index, write(t, nodes.Node(leader), some(80)...)))

	// A node that was cut off gets a snapshot in place of the changes that it
	// missed, and its inventory has to load anew.
	behind := (leader + 1) % 3
	interruptions := sets[behind].GetOrCreateCounter("oprc_inventory_interruptions_total")
	before, rounds := interruptions.Get(), 0
	for ; interruptions.Get() == before && rounds < 10; rounds++ {
		nodes.Partition(behind)
		index = 0
		for n := range 40 {
			index = max(index, write(t, nodes.Node(leader), putCluster(t, named("late", n), nil)))
		}
		index = max(index, write(t, nodes.Node(leader), some(80)...))
		nodes.Heal()
		onEveryNode(t, nodes, inventories, index)
		leader = nodes.Leader(t)
	}
	if interruptions.Get() == before {
		t.Errorf("the node that was cut off %d times: got no interruption, so the test has not shown a reload", rounds)
	}
	if _, known := inventories[behind].Cluster(named("late", 39)); !known {
		t.Error("the node that was cut off does not know a cluster that was added meanwhile")
	}

	// Read your own write where it was made.
	for n := range 10 {
		name := fmt.Sprintf("own%d", n)
		index := write(t, nodes.Node(n%3), putCluster(t, name, func(c *model.Cluster) { c.Cordoned = true }))
		if err := inventories[n%3].WaitFor(t.Context(), index); err != nil {
			t.Fatal(err)
		}
		if view, known := inventories[n%3].Cluster(name); !known || !view.Spec.Cordoned {
			t.Errorf("%s on the node that wrote it: got %+v, want it", name, view)
		}
	}
}
