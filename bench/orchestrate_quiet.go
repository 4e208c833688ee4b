package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// compare fails unless the clusters hold exactly the units that are recorded as
// running.
func (b *orchestration) compare(ctx context.Context) error {
	held, err := b.farm.units(ctx, b.host.opTimeout())
	if err != nil {
		return fmt.Errorf("list units of the clusters: %w", err)
	}
	of := make(map[string]map[string]string, b.options.Clusters) // by cluster: unit, its deployment
	for _, u := range held {
		if of[u.Cluster] == nil {
			of[u.Cluster] = map[string]string{}
		}
		of[u.Cluster][u.ID] = u.Deployment
	}
	err = forEach(ctx, b.local.Addrs()[:1], b.host.opTimeout(), b.options.Clusters, func(c *connection, i int) error {
		name, _ := b.farm.cluster(i)
		return compareCluster(ctx, c, name, of[name])
	})
	if err != nil {
		return err
	}
	if len(held) != b.options.units() {
		return wrongf("the control plane", "the clusters hold %d units, want %d", len(held), b.options.units())
	}
	return nil
}

func compareCluster(ctx context.Context, c *connection, name string, held map[string]string) error {
	path := clustersPath + "/" + name + "/units"
	var recorded []struct {
		ID         string `json:"id"`
		Deployment string `json:"deployment_key"`
		Phase      string `json:"phase"`
	}
	if err := c.getJSON(ctx, path, &recorded); err != nil {
		return err
	}
	for _, u := range recorded {
		if u.Phase != "RUNNING" {
			return wrongf("GET "+path, "unit %s of a deployment that runs is %s", u.ID, u.Phase)
		}
		if deployment, ok := held[u.ID]; !ok || deployment != u.Deployment {
			return wrongf("GET "+path, "the cluster does not hold unit %s of %s", u.ID, u.Deployment)
		}
	}
	if len(recorded) != len(held) {
		return wrongf("GET "+path, "it records %d units, the cluster holds %d", len(recorded), len(held))
	}
	return nil
}

// keep measures what it costs that everything stays as it is.
func (b *orchestration) keep(ctx context.Context) error {
	leader, err := b.leader(ctx)
	if err != nil {
		return err
	}
	if err := b.settle(ctx); err != nil {
		return err
	}
	b.host.progress("measuring for %s while nothing changes", b.options.Quiet)
	before, err := b.sample(ctx, leader)
	if err != nil {
		return err
	}
	if err := pause(ctx, b.options.Quiet); err != nil {
		return err
	}
	after, err := b.sample(ctx, leader)
	if err != nil {
		return err
	}
	took := after.at.Sub(before.at).Seconds()
	writes := float64(writesPromise)
	b.figure("writes through Raft while nothing changes", float64(after.index-before.index)/took, "/s", &writes)
	if usage := after.usage.since(before.usage); len(usage) == 1 {
		b.figure("leader CPU while nothing changes", usage[0].CPUSeconds/took, "of a core", nil)
		b.figure("leader memory", float64(usage[0].ResidentBytes)/(1<<20), "MiB", nil)
	}
	b.figure("calls to CRMs while nothing changes", float64(after.calls-before.calls)/took, "/s", nil)
	return nil
}

// leader is the process of the leader, and its address.
func (b *orchestration) leader(ctx context.Context) (*child, error) {
	addrs, err := Route(ctx, b.local.Addrs(), Vias[1], b.host.opTimeout())
	if err != nil {
		return nil, fmt.Errorf("find the leader: %w", err)
	}
	for _, node := range b.local.nodes {
		if node.ready.HTTPAddr == addrs[0] {
			return node, nil
		}
	}
	return nil, errors.New("find the leader: it is none of the nodes")
}

// settle waits until nothing has been written for a while. Not to come to rest
// is not an error: the figure says it.
func (b *orchestration) settle(ctx context.Context) error {
	last, since := uint64(0), time.Now()
	err := b.until(ctx, "rest", 100*time.Millisecond, func(c *connection) (bool, string, error) {
		index, err := appliedIndex(ctx, c)
		if index != last {
			last, since = index, time.Now()
		}
		return time.Since(since) >= b.options.Settle, fmt.Sprintf("index %d is new", last), err
	})
	if err != nil && ctx.Err() == nil {
		b.host.progress("%v", err)
		return nil
	}
	return err
}

// appliedIndex is that of the member that has applied most.
func appliedIndex(ctx context.Context, c *connection) (uint64, error) {
	var members []struct {
		AppliedIndex uint64 `json:"applied_index"`
	}
	if err := c.getJSON(ctx, "/api/v1/members", &members); err != nil {
		return 0, fmt.Errorf("list members: %w", err)
	}
	var index uint64
	for _, m := range members {
		index = max(index, m.AppliedIndex)
	}
	return index, nil
}

// quietSample is what had happened at one moment.
type quietSample struct {
	at    time.Time
	index uint64
	calls uint64
	usage usageSample
}

func (b *orchestration) sample(ctx context.Context, leader *child) (s quietSample, err error) {
	c := newConnection(leader.ready.HTTPAddr, b.host.opTimeout())
	defer c.close()
	if s.index, err = appliedIndex(ctx, c); err != nil {
		return s, err
	}
	calls, err := b.farm.calls(ctx, b.host.opTimeout())
	if err != nil {
		return s, fmt.Errorf("count calls: %w", err)
	}
	for _, n := range calls {
		s.calls += n
	}
	s.usage, s.at = sampleUsage([]Process{leader.process()}), time.Now()
	return s, nil
}

// plan measures dry runs of one more deployment, as a client sees them: what
// every cluster would be for it comes with the answer.
func (b *orchestration) plan(ctx context.Context) error {
	leader, err := b.leader(ctx)
	if err != nil {
		return err
	}
	name := "plan, " + countText(b.options.Nodes, "node")
	w := &Workload{Name: "dry run", open: func(client int) operation {
		return &dryRunOperation{body: b.deployment(nil, "bench-plan-"+strconv.Itoa(client)), units: b.options.UnitsEach}
	}}
	plan := Plan{
		Name: name, Load: b.options.Plan, Turns: b.options.PlanTurns, Settings: b.run.Settings,
		Subjects: []*Subject{w.Subject(w.Name, []string{leader.ready.HTTPAddr}, b.host.opTimeout(), []Process{leader.process()})},
		Progress: b.host.turnProgress(name, b.options.PlanTurns),
	}
	run, err := plan.Run(ctx)
	if len(run.Subjects) > 0 {
		most := float64(planPromise)
		latency := run.Subjects[0].Latency
		run.Figures = append(run.Figures, Figure{Name: "p99 of a plan, its answer included", Value: latency.P99, Unit: "µs", Most: &most})
		b.report.Runs = append(b.report.Runs, run)
	}
	return err
}

// dryRunOperation asks what would become of a deployment.
type dryRunOperation struct {
	body  []byte
	units int
}

const dryRunURI = deploymentsPath + "?dry_run=true"

func (o *dryRunOperation) next(req *fasthttp.Request) {
	req.Header.SetMethod(fasthttp.MethodPost)
	req.Header.SetRequestURI(dryRunURI)
	req.Header.SetContentType("application/json")
	req.SetBodyRaw(o.body)
}

// check wants a unit for each cluster that was asked for. It counts them without
// decoding all that is said of a thousand clusters.
func (o *dryRunOperation) check(resp *fasthttp.Response) error {
	if resp.StatusCode() != fasthttp.StatusOK {
		return refusal("POST "+dryRunURI, resp)
	}
	if got := bytes.Count(resp.Body(), []byte(`"target_cluster":`)); got != o.units {
		return wrongf("POST "+dryRunURI, "it plans %d units, want %d: %s", got, o.units, excerpt(resp.Body()))
	}
	return nil
}
