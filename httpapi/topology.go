package httpapi

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// handleTopology answers with a graph of what is deployed where: of what is
// stored or, with ?source=zenoh, of a cluster's data plane as its CRM sees it.
func (s *Server) handleTopology(rq request) error {
	source, err := rq.queryName("source")
	if err != nil {
		return err
	}
	cluster, err := rq.queryName("cluster")
	if err != nil {
		return err
	}
	if source == "zenoh" {
		return rq.answerDataPlane(cluster)
	}
	opts, err := rq.readOptions()
	if err != nil {
		return err
	}
	var deployments []model.Deployment
	_, err = rq.view(opts, func(r storage.Reader) error {
		deployments = deployments[:0]
		return storage.ListDeployments(r, storage.DeploymentQuery{}, "", func(_ string, doc []byte) (bool, error) {
			d, err := model.ParseDeployment(doc)
			deployments = append(deployments, d)
			return true, err
		})
	})
	if err != nil {
		return err
	}
	now := time.Now()
	graph := newTopology(s.deps.Clusters.Clusters())
	for _, d := range deployments {
		graph.add(d)
	}
	return rq.answerValue(graph.snapshot(&model.TopologyTime{Seconds: now.Unix(), Nanos: int32(now.Nanosecond())}))
}

func (rq request) answerDataPlane(cluster string) error {
	if rq.s.deps.Records == nil {
		return noCRM()
	}
	ctx := rq.deadline(rq.s.cfg.RequestTimeout)
	defer ctx.release()
	snapshot, err := rq.s.deps.Records.Topology(ctx, cluster)
	if err != nil {
		return err
	}
	return rq.answerValue(snapshot)
}

// Words for the states of nodes, the worst last.
const (
	nodeHealthy   = "healthy"
	nodeUnknown   = "unknown"
	nodeDegraded  = "degraded"
	nodeUnhealthy = "unhealthy"
)

var nodeStates = []string{nodeHealthy, nodeUnknown, nodeDegraded, nodeUnhealthy}

// topology is a graph in the making. Every node and edge is in it once.
type topology struct {
	// health of the clusters, as a state of nodes.
	health map[string]string
	nodes  map[string]*model.TopologyNode
	edges  map[edge]bool
}

type edge struct{ from, to string }

func newTopology(clusters []model.ClusterInfo) *topology {
	t := &topology{health: map[string]string{}, nodes: map[string]*model.TopologyNode{}, edges: map[edge]bool{}}
	for _, c := range clusters {
		t.health[c.Name] = clusterState(c.Health.Status)
	}
	return t
}

func clusterState(status string) string {
	switch status {
	case model.ClusterHealthy:
		return nodeHealthy
	case model.ClusterDegraded:
		return nodeDegraded
	case model.ClusterUnhealthy:
		return nodeUnhealthy
	}
	return nodeUnknown
}

func deploymentState(d model.Deployment) string {
	switch d.Condition {
	case model.DeploymentRunning:
		return nodeHealthy
	case model.DeploymentDown, model.DeploymentDeleted:
		return nodeUnhealthy
	}
	return nodeDegraded
}

// add puts a deployment into the graph: its package, class, functions and
// environments.
func (t *topology) add(d model.Deployment) {
	state := deploymentState(d)
	pkg := t.node("package::"+d.PackageName, "package", state, nil)
	class := t.classNode(d, state)
	t.join(pkg, class)
	for _, f := range d.Functions {
		function := t.node("function::"+d.ClassKey+"::"+f.FunctionKey, "function", state, map[string]string{"class": d.ClassKey})
		t.join(class, function)
	}
	for _, env := range environmentNames(d) {
		health, known := t.health[env]
		if !known {
			health = nodeUnknown
		}
		t.join(class, t.node("env::"+env, "environment", health, map[string]string{"name": env}))
	}
}

// classNode is the node of a deployment's class. Existing clients know it by the
// class alone; a class of the same name in another package gets a longer id.
func (t *topology) classNode(d model.Deployment, state string) *model.TopologyNode {
	id := "class::" + d.ClassKey
	if other, taken := t.nodes[id]; taken && other.Metadata["package"] != d.PackageName {
		id = "class::" + d.PackageName + "." + d.ClassKey
	}
	metadata := map[string]string{"package": d.PackageName}
	if d.ODGM != nil && d.ODGM.PartitionCount != nil {
		metadata["partitions"] = strconv.FormatUint(uint64(*d.ODGM.PartitionCount), 10)
	}
	node := t.node(id, "class", state, metadata)
	node.DeployedClasses = []string{d.ClassKey}
	return node
}

// environmentNames is where a deployment is, or else where it should be.
func environmentNames(d model.Deployment) []string {
	if len(d.TargetEnvs) > 0 || d.Status == nil {
		return d.TargetEnvs
	}
	return d.Status.SelectedEnvs
}

// node returns a node, made where it is new. It shows the worst of the states it
// was given.
func (t *topology) node(id, kind, state string, metadata map[string]string) *model.TopologyNode {
	node, known := t.nodes[id]
	if !known {
		node = &model.TopologyNode{ID: id, NodeType: kind, Status: state, Metadata: metadata, DeployedClasses: []string{}}
		t.nodes[id] = node
	}
	if slices.Index(nodeStates, state) > slices.Index(nodeStates, node.Status) {
		node.Status = state
	}
	return node
}

func (t *topology) join(from, to *model.TopologyNode) { t.edges[edge{from.ID, to.ID}] = true }

// snapshot returns the graph, packages first, then classes, functions and
// environments.
func (t *topology) snapshot(at *model.TopologyTime) model.TopologySnapshot {
	s := model.TopologySnapshot{Nodes: []model.TopologyNode{}, Edges: []model.TopologyEdge{}, Timestamp: at}
	kinds := []string{"package", "class", "function", "environment"}
	for _, node := range t.nodes {
		s.Nodes = append(s.Nodes, *node)
	}
	slices.SortFunc(s.Nodes, func(a, b model.TopologyNode) int {
		return cmp.Or(cmp.Compare(slices.Index(kinds, a.NodeType), slices.Index(kinds, b.NodeType)), cmp.Compare(a.ID, b.ID))
	})
	rank := map[string]int{}
	for i, node := range s.Nodes {
		rank[node.ID] = i
	}
	edges := slices.SortedFunc(maps.Keys(t.edges), func(a, b edge) int {
		return cmp.Or(cmp.Compare(rank[a.from], rank[b.from]), cmp.Compare(rank[a.to], rank[b.to]))
	})
	for _, e := range edges {
		s.Edges = append(s.Edges, model.TopologyEdge{FromID: e.from, ToID: e.to, Metadata: map[string]string{}})
	}
	return s
}
