package testproc

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

const (
	orchestratedClusters    = 5
	orchestratedDeployments = 200
	orchestrators           = 8
	leaderKillEvery         = 3 * time.Second
	// convergeLimit is how long the clusters may take, after the last write and
	// the last crash, to hold what is wanted.
	convergeLimit = 30 * time.Second
)

// crashSeconds is how long the crash test goes on: OPRC_CRASH_SECONDS, or few.
func crashSeconds(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("OPRC_CRASH_SECONDS")
	if text == "" {
		return 20 * time.Second
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 10 {
		t.Fatalf("OPRC_CRASH_SECONDS is %q, want a number of at least 10", text)
	}
	return time.Duration(n) * time.Second
}

// TestOrchestrationCrashes is invariants I6 and I7 under fire: deployments are
// created, updated and deleted while every few seconds the leader is killed.
// Afterwards the clusters hold exactly the units that are recorded and planned,
// and no cluster has heeded an older leader after a newer one.
func TestOrchestrationCrashes(t *testing.T) {
	sims := make([]*Sim, orchestratedClusters)
	for i := range sims {
		protocol := model.ProtocolHTTP
		if i%2 == 1 {
			protocol = model.ProtocolGRPC
		}
		sims[i] = NewSim(t, fmt.Sprintf("edge-%d", i), protocol,
			"--latency", "5ms", "--time-to-running", "200ms", "--journal-size", "2000000")
	}
	c := NewOrchestration(t, 3, sims, "health_check_interval: 2s")
	mustPut(t, c, c.Nodes[0], "shop")

	duration := crashSeconds(t)
	ctx, cancel := context.WithTimeout(t.Context(), duration)
	defer cancel()
	clients := make([]*orchestrator, orchestrators)
	var running sync.WaitGroup
	for i := range clients {
		clients[i] = newOrchestrator(c, i)
		running.Go(func() { clients[i].run(ctx) })
	}
	kills := killLeaders(ctx, t, c)
	running.Wait()
	for i := range c.Nodes {
		c.WaitReady(t, i, 30*time.Second)
	}
	var done int
	for _, o := range clients {
		for _, fault := range o.faults {
			t.Error(fault)
		}
		done += o.created + o.updated + o.deleted
	}
	t.Logf("%d kills of the leader, %d acknowledged writes", kills, done)
	if want := int(duration/leaderKillEvery) / 2; kills < want || done < orchestratedDeployments {
		t.Errorf("the run exercised too little: %d kills, want %d; %d writes, want %d", kills, want, done, orchestratedDeployments)
	}

	wanted := map[string]bool{}
	for _, o := range clients {
		for key := range o.present {
			wanted[key] = true
		}
	}
	waitFor(t, convergeLimit, "the clusters hold exactly what is recorded and planned", func() error {
		return checkFleet(c, sims, wanted)
	})
	for _, s := range sims {
		checkTerms(t, s, kills)
	}
	c.CheckConverged(t, 15*time.Second)

	// What was checked can fail.
	if err := sims[0].Inject(model.DeploymentUnit{ID: "foreign", DeploymentKey: "d-0-0"}); err != nil {
		t.Fatal(err)
	}
	if err := checkFleet(c, sims, wanted); err == nil {
		t.Error("a unit too many was not noticed")
	}
}

// killLeaders kills the leader every leaderKillEvery and starts the node again,
// until ctx ends; all nodes run when it returns.
func killLeaders(ctx context.Context, t *testing.T, c *Cluster) (kills int) {
	tick := time.NewTicker(leaderKillEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return kills
		case <-tick.C:
			if leader := someLeader(c); leader != nil {
				leader.Kill()
				kills++
				c.Start(t, leader.Index)
			}
		}
	}
}

// someLeader is the leader in the eyes of any node, or nil when none knows one.
func someLeader(c *Cluster) *Node {
	for _, n := range c.Nodes {
		members, err := c.Members(n)
		if err != nil {
			continue
		}
		for _, m := range members {
			for _, candidate := range c.Nodes {
				if m.Role == storage.RoleLeader && m.Alive && candidate.Name == m.Name {
					return candidate
				}
			}
		}
	}
	return nil
}

// orchestrator creates, updates and deletes deployments of its own, one write at
// a time, each sent again until it is acknowledged. It knows which there must be
// afterwards.
type orchestrator struct {
	cluster *Cluster
	id      int
	random  *rand.Rand

	keys                      []string
	present                   map[string]bool
	created, updated, deleted int
	sent                      int
	faults                    []string
}

func newOrchestrator(c *Cluster, id int) *orchestrator {
	o := &orchestrator{cluster: c, id: id, random: rand.New(rand.NewPCG(uint64(id), 99)), present: map[string]bool{}}
	for i := range orchestratedDeployments / orchestrators {
		o.keys = append(o.keys, fmt.Sprintf("d-%d-%d", id, i))
	}
	return o
}

// run first creates all, then does anything to any of them until ctx ends; the
// write under way is finished.
func (o *orchestrator) run(ctx context.Context) {
	for _, key := range o.keys {
		o.create(ctx, key)
	}
	for ctx.Err() == nil {
		key := o.keys[o.random.IntN(len(o.keys))]
		switch {
		case !o.present[key]:
			o.create(ctx, key)
		case o.random.IntN(4) == 0:
			o.delete(ctx, key)
		default:
			o.update(ctx, key)
		}
	}
}

// document wishes for one to three clusters, by name or not, and for a setting
// that makes another unit of it.
func (o *orchestrator) document(key string) string {
	where := fmt.Sprintf(`"placement":{"clusters":%d}`, 1+o.random.IntN(3))
	if o.random.IntN(2) == 0 {
		targets := o.random.Perm(orchestratedClusters)[:1+o.random.IntN(3)]
		names := make([]string, len(targets))
		for i, n := range targets {
			names[i] = fmt.Sprintf("edge-%d", n)
		}
		text, _ := json.Marshal(names) // Strings are always encodable.
		where = `"target_envs":` + string(text)
	}
	return fmt.Sprintf(`{"key":%q,"package_name":"shop","class_key":"A","functions":[{"function_key":"A.f","config":{"V":"%d"}}],%s}`,
		key, o.random.IntN(1000), where)
}

func (o *orchestrator) create(ctx context.Context, key string) {
	switch status, answer := o.send(ctx, http.MethodPost, "/api/v1/deployments", o.document(key)); status {
	case http.StatusOK, http.StatusCreated, http.StatusAccepted:
		o.present[key] = true
		o.created++
	case http.StatusConflict: // It is still being deleted.
	default:
		o.fault("create", key, status, answer)
	}
}

func (o *orchestrator) update(ctx context.Context, key string) {
	switch status, answer := o.send(ctx, http.MethodPut, "/api/v1/deployments/"+key, o.document(key)); status {
	case http.StatusOK, http.StatusCreated, http.StatusAccepted:
		o.updated++
	default:
		o.fault("update", key, status, answer)
	}
}

func (o *orchestrator) delete(ctx context.Context, key string) {
	switch status, answer := o.send(ctx, http.MethodDelete, "/api/v1/deployments/"+key, ""); status {
	case http.StatusOK, http.StatusAccepted, http.StatusNoContent:
		delete(o.present, key)
		o.deleted++
	default:
		o.fault("delete", key, status, answer)
	}
}

func (o *orchestrator) fault(what, key string, status int, answer string) {
	o.faults = append(o.faults, fmt.Sprintf("%s %s: status %d: %s", what, key, status, answer))
}

// send sends a request to random nodes until one gives a definite answer.
func (o *orchestrator) send(ctx context.Context, method, path, body string) (status int, answer string) {
	o.sent++
	header := http.Header{"Idempotency-Key": {fmt.Sprintf("o%d-%d", o.id, o.sent)}, "Content-Type": {"application/json"}}
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), 90*time.Second)
	defer cancel()
	for limit.Err() == nil {
		node := o.cluster.Nodes[o.random.IntN(len(o.cluster.Nodes))]
		try, cancelTry := context.WithTimeout(limit, 12*time.Second)
		response, text, err := o.cluster.Do(try, node, method, path, header, body)
		cancelTry()
		if err == nil && response.StatusCode < http.StatusInternalServerError {
			return response.StatusCode, string(text)
		}
		answer = fmt.Sprintf("%v %s", err, text)
		pause := time.NewTimer(time.Duration(10+o.random.IntN(40)) * time.Millisecond)
		select {
		case <-pause.C:
		case <-limit.Done():
			pause.Stop()
		}
	}
	return 0, answer
}

// place is where a unit is: no two units of a deployment may be in one.
type place struct{ deployment, cluster string }

// checkFleet compares what the clusters hold with what is recorded and with what
// is planned for exactly the deployments that are wanted.
func checkFleet(c *Cluster, sims []*Sim, wanted map[string]bool) error {
	node := c.Nodes[0]
	held := map[place]string{}
	for _, s := range sims {
		units, err := s.Units()
		if err != nil {
			return err
		}
		for _, u := range units {
			at := place{u.Unit.DeploymentKey, s.Name}
			if other, twice := held[at]; twice {
				return fmt.Errorf("%s holds units %s and %s of deployment %s", s.Name, other, u.Unit.ID, at.deployment)
			}
			held[at] = u.Unit.ID
		}
	}
	var stored []model.Deployment
	if err := getJSON(c, node, "/api/v1/deployments", &stored); err != nil {
		return err
	}
	for _, d := range stored {
		if !wanted[d.Key] {
			return fmt.Errorf("deployment %s was deleted and is still there", d.Key)
		}
	}
	if len(stored) != len(wanted) {
		return fmt.Errorf("%d deployments are stored, want %d", len(stored), len(wanted))
	}
	expected := map[place]string{}
	for _, d := range stored {
		if err := expectUnits(c, node, d, expected); err != nil {
			return err
		}
	}
	for at, id := range expected {
		if held[at] != id {
			return fmt.Errorf("%s holds unit %q of deployment %s, want %q", at.cluster, held[at], at.deployment, id)
		}
	}
	for at, id := range held {
		if expected[at] == "" {
			return fmt.Errorf("%s holds unit %s of deployment %q, which nobody wants there", at.cluster, id, at.deployment)
		}
	}
	return nil
}

// expectUnits adds the units of a deployment, in whose plan and records the same
// must be, all of them running.
func expectUnits(c *Cluster, node *Node, d model.Deployment, expected map[place]string) error {
	var plan struct {
		Units []model.DeploymentUnit `json:"units"`
	}
	if err := getJSON(c, node, "/api/v1/deployments/"+d.Key+"/plan", &plan); err != nil {
		return err
	}
	var recorded []model.UnitStatus
	if err := getJSON(c, node, "/api/v1/deployments/"+d.Key+"/units", &recorded); err != nil {
		return err
	}
	var planned, running []string
	for _, u := range plan.Units {
		planned = append(planned, u.TargetCluster+"/"+u.ID)
		expected[place{d.Key, u.TargetCluster}] = u.ID
	}
	for _, u := range recorded {
		running = append(running, u.Cluster+"/"+u.ID)
		if u.Phase != model.UnitRunning {
			return fmt.Errorf("unit %s of deployment %s in %s is %s: %s", u.ID, d.Key, u.Cluster, u.Phase, u.LastError)
		}
	}
	slices.Sort(planned)
	slices.Sort(running)
	switch {
	case !slices.Equal(planned, running):
		return fmt.Errorf("deployment %s has units %v, planned are %v", d.Key, running, planned)
	case len(planned) == 0:
		return fmt.Errorf("nothing is planned for deployment %s", d.Key)
	case d.Condition != model.DeploymentRunning || d.ObservedGeneration != d.Generation:
		return fmt.Errorf("deployment %s is %s at generation %d of %d", d.Key, d.Condition, d.ObservedGeneration, d.Generation)
	}
	return nil
}

// checkTerms reads a journal from its beginning: once a cluster has heeded a
// leader it heeds no older one, and changes are made in the name of a leader only.
func checkTerms(t *testing.T, s *Sim, kills int) {
	t.Helper()
	calls, err := s.Calls(0)
	if err != nil {
		t.Error(err)
		return
	}
	if len(calls) == 0 || calls[0].Seq != 1 {
		t.Errorf("the journal of %s is not whole", s.Name)
		return
	}
	faults, terms, refused := readTerms(calls)
	for _, fault := range faults {
		t.Errorf("%s: %s", s.Name, fault)
	}
	t.Logf("%s: %d calls of %d leaders, %d refused", s.Name, len(calls), terms, refused)
	if terms < kills/2 {
		t.Errorf("%s was called by too few leaders for the test to mean anything", s.Name)
	}
}

// readTerms finds calls that a cluster should not have heeded, and counts the
// leaders and the calls that it refused.
func readTerms(calls []SimCall) (faults []string, terms, refused int) {
	var newest uint64
	seen := map[uint64]bool{}
	for _, call := range calls {
		changes := call.Name == "deploy" || call.Name == "delete"
		switch {
		case call.Effect == "refused" || call.Status == http.StatusConflict:
			refused++
			continue
		case changes && call.Term == 0:
			faults = append(faults, fmt.Sprintf("call %d, %s of %s, names no term", call.Seq, call.Name, call.Unit))
		case call.Term > 0 && call.Term < newest:
			faults = append(faults, fmt.Sprintf("call %d, %s of %s, was heeded in term %d after one of term %d", call.Seq, call.Name, call.Unit, call.Term, newest))
		}
		newest = max(newest, call.Term)
		if call.Term > 0 {
			seen[call.Term] = true
		}
	}
	return faults, len(seen), refused
}

// TestReadTerms: what the crash test reads from a journal.
func TestReadTerms(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		calls                  []SimCall
		faults, terms, refused int
	}{
		"newer leaders":             {[]SimCall{{Name: "deploy", Term: 3}, {Name: "health"}, {Name: "delete", Term: 5}}, 0, 2, 0},
		"an older one refused":      {[]SimCall{{Name: "deploy", Term: 5}, {Name: "deploy", Term: 3, Status: 409, Effect: "refused"}}, 0, 1, 1},
		"an older one heeded":       {[]SimCall{{Name: "deploy", Term: 5}, {Name: "deploy", Term: 3, Effect: "created"}}, 1, 2, 0},
		"an older one asked status": {[]SimCall{{Name: "status", Term: 5}, {Name: "status", Term: 3, Status: 200}}, 1, 2, 0},
		"a change by nobody":        {[]SimCall{{Name: "delete", Effect: "deleted"}}, 1, 0, 0},
	} {
		faults, terms, refused := readTerms(tt.calls)
		if len(faults) != tt.faults || terms != tt.terms || refused != tt.refused {
			t.Errorf("%s: got faults %v, %d leaders, %d refused, want %d, %d, %d", name, faults, terms, refused, tt.faults, tt.terms, tt.refused)
		}
	}
}
