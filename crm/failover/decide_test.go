package failover

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
)

// noon is when tests decide.
var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time { return noon.Add(-d) }

func cluster(status string, since time.Time) Cluster {
	return Cluster{Status: status, Since: since, Seen: true}
}

func healthy() Cluster                 { return cluster(model.ClusterHealthy, ago(time.Hour)) }
func dead(since time.Duration) Cluster { return cluster(model.ClusterUnhealthy, ago(since)) }
func named(names ...string) []string   { return names }
func with(c Cluster, f func(*Cluster)) Cluster {
	f(&c)
	return c
}

// four are clusters a to d, healthy but for what changes says.
func four(changes map[string]Cluster) map[string]Cluster {
	clusters := map[string]Cluster{"a": healthy(), "b": healthy(), "c": healthy(), "d": healthy()}
	for name, changed := range changes {
		clusters[name] = changed
	}
	return clusters
}

// ten are clusters c0 to c9 of which the first lost are dead for that long.
func ten(lost int, since time.Duration) map[string]Cluster {
	clusters := map[string]Cluster{}
	for n := range 10 {
		clusters[fmt.Sprintf("c%d", n)] = healthy()
		if n < lost {
			clusters[fmt.Sprintf("c%d", n)] = dead(since)
		}
	}
	return clusters
}

func opted(key string, placed ...string) Deployment {
	return Deployment{Key: key, Failover: true, Placed: placed}
}

func avoiding(key, from, reason string, placed ...string) Deployment {
	d := opted(key, placed...)
	d.Avoided = []model.AvoidedCluster{{Cluster: from, Reason: reason, Since: ago(time.Minute)}}
	return d
}

// config of tests: a toleration of five minutes, a budget that is no limit.
func config() Config {
	cfg := DefaultConfig()
	cfg.MaxEvictionsPerMinute = 6000
	return cfg
}

// plenty is a number of deployments that makes the burst no limit.
const plenty = 10_000

func evicted(d Decisions) []string {
	var list []string
	for _, e := range d.Evict {
		list = append(list, e.Deployment+" from "+e.Cluster+": "+e.Reason)
	}
	return list
}

func readmitted(d Decisions) []string {
	var list []string
	for _, r := range d.Readmit {
		list = append(list, r.Deployment+" to "+r.Cluster)
	}
	return list
}

func TestEvict(t *testing.T) {
	t.Parallel()
	second := time.Second
	draining := func(c *Cluster) { c.Draining = true }
	tests := []struct {
		name       string
		clusters   map[string]Cluster
		deployment Deployment
		want       []string
		next       time.Time
	}{
		{name: "healthy clusters keep what they have", clusters: four(nil), deployment: opted("x", "a", "b")},
		{
			name:     "a cluster lost for less than the toleration keeps it, and is looked at when it is over",
			clusters: four(map[string]Cluster{"a": dead(4 * time.Minute)}), deployment: opted("x", "a"), next: noon.Add(time.Minute),
		},
		{
			name:     "a cluster lost for the toleration loses it",
			clusters: four(map[string]Cluster{"a": dead(5 * time.Minute)}), deployment: opted("x", "a", "b"),
			want: named("x from a: Failover"),
		},
		{
			name:       "the deployment's own toleration counts",
			clusters:   four(map[string]Cluster{"a": dead(2 * time.Second)}),
			deployment: Deployment{Key: "x", Failover: true, Toleration: &second, Placed: named("a")},
			want:       named("x from a: Failover"),
		},
		{
			name:       "who did not opt in stays",
			clusters:   four(map[string]Cluster{"a": dead(time.Hour)}),
			deployment: Deployment{Key: "x", Placed: named("a")},
		},
		{
			name:     "a degraded cluster is not lost",
			clusters: four(map[string]Cluster{"a": cluster(model.ClusterDegraded, ago(time.Hour))}), deployment: opted("x", "a"),
		},
		{
			name:     "a cluster of which nothing is known is not lost",
			clusters: four(map[string]Cluster{"a": cluster(model.ClusterUnknown, ago(time.Hour))}), deployment: opted("x", "a"),
		},
		{
			name:       "a cluster that is gone is for planning to leave",
			clusters:   four(nil),
			deployment: opted("x", "gone"),
		},
		{
			name:       "what is avoided already is not evicted again",
			clusters:   four(map[string]Cluster{"a": dead(time.Hour)}),
			deployment: avoiding("x", "a", model.AvoidFailover, "a", "b"),
		},
		{
			name:       "a drained cluster is left at once, by who did not opt in as well",
			clusters:   four(map[string]Cluster{"a": with(healthy(), draining)}),
			deployment: Deployment{Key: "x", Placed: named("a")},
			want:       named("x from a: Drain"),
		},
		{
			name:     "a leader whose clock is behind waits longer",
			clusters: four(map[string]Cluster{"a": dead(-time.Minute)}), deployment: opted("x", "a"), next: noon.Add(6 * time.Minute),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := config().Decide(State{Clusters: tt.clusters, Deployments: []Deployment{tt.deployment}, Placed: plenty}, noon)
			if diff := cmp.Diff(evicted(got), tt.want); diff != "" {
				t.Errorf("evictions: got -, want +\n%s", diff)
			}
			if len(tt.want) > 0 {
				tt.next = noon.Add(firstPatience) // whether it was heard
			}
			if !got.Next.Equal(tt.next) {
				t.Errorf("next look: got %v, want %v", got.Next, tt.next)
			}
		})
	}
}

func TestBrake(t *testing.T) {
	t.Parallel()
	suspect := cluster(model.ClusterDegraded, ago(time.Second))
	suspect.Suspect = true
	tests := []struct {
		name     string
		clusters map[string]Cluster
		want     bool
		evicts   bool
		held     int
	}{
		{name: "six of ten lost", clusters: ten(6, time.Hour), want: true, held: 1},
		{name: "five of ten lost is not more than half", clusters: ten(5, time.Hour), evicts: true},
		{name: "two of three lost", clusters: map[string]Cluster{"c0": dead(time.Hour), "c1": dead(time.Hour), "c2": healthy()}, want: true, held: 1},
		{
			name:     "one of three lost",
			clusters: map[string]Cluster{"c0": dead(time.Hour), "c1": healthy(), "c2": healthy()}, evicts: true,
		},
		{
			name:     "two of four lost is not more than half",
			clusters: map[string]Cluster{"c0": dead(time.Hour), "c1": dead(time.Hour), "c2": healthy(), "c3": healthy()}, evicts: true,
		},
		{
			name:     "three of four lost",
			clusters: map[string]Cluster{"c0": dead(time.Hour), "c1": dead(time.Hour), "c2": dead(time.Hour), "c3": healthy()}, want: true, held: 1,
		},
		{
			name: "cordoned clusters count, lost or not",
			clusters: map[string]Cluster{
				"c0": dead(time.Hour), "c1": with(dead(time.Hour), func(c *Cluster) { c.Cordoned = true }),
				"c2": healthy(), "c3": with(healthy(), func(c *Cluster) { c.Cordoned = true }),
			},
			evicts: true,
		},
		{
			name:     "two of two lost is too few to speak of a majority",
			clusters: map[string]Cluster{"c0": dead(time.Hour), "c1": dead(time.Hour)}, evicts: true,
		},
		{
			name: "unknown after known counts as lost",
			clusters: map[string]Cluster{
				"c0": dead(time.Hour), "c1": cluster(model.ClusterUnknown, ago(time.Second)), "c2": healthy(),
			},
			want: true, held: 1,
		},
		{
			name: "clusters that never answered do not count",
			clusters: map[string]Cluster{
				"c0": dead(time.Hour), "c1": healthy(), "c2": healthy(),
				"n0": {Status: model.ClusterUnhealthy, Since: ago(time.Hour)}, "n1": {Status: model.ClusterUnknown},
				"n2": {Status: model.ClusterUnknown}, "n3": {Status: model.ClusterUnknown},
			},
			evicts: true,
		},
		{
			name: "while suspects could make it most, nothing is evicted, and no alarm is raised",
			clusters: map[string]Cluster{
				"c0": dead(time.Hour), "c1": suspect, "c2": healthy(),
			},
			held: 1,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := config().Decide(State{Clusters: tt.clusters, Deployments: []Deployment{opted("x", "c0")}, Placed: plenty}, noon)
			if got.Memory.Brake.On != tt.want {
				t.Errorf("brake: got %v, want %v", got.Memory.Brake.On, tt.want)
			}
			if evicts := len(got.Evict) > 0; evicts != tt.evicts {
				t.Errorf("evicts: got %v, want %v", evicts, tt.evicts)
			}
			if got.Held != tt.held {
				t.Errorf("held: got %d, want %d", got.Held, tt.held)
			}
		})
	}
}

func TestBrakeIsReleasedAfterTheHoldOff(t *testing.T) {
	t.Parallel()
	cfg := config()
	decide := func(m Memory, lost int, at time.Time) Decisions {
		return cfg.Decide(State{Clusters: ten(lost, time.Hour), Deployments: []Deployment{opted("x", "c0")}, Placed: plenty, Memory: m}, at)
	}
	braked := decide(Memory{}, 6, noon)
	if !braked.Memory.Brake.On || !braked.Next.IsZero() {
		t.Fatalf("got %+v, want the brake on and nothing due", braked)
	}
	clear := decide(braked.Memory, 2, noon.Add(time.Second))
	if want := noon.Add(time.Second + cfg.BrakeHoldOff); !clear.Memory.Brake.On || !clear.Next.Equal(want) || len(clear.Evict) > 0 {
		t.Errorf("once clear: got on %v, next %v, evictions %v, want on until %v", clear.Memory.Brake.On, clear.Next, clear.Evict, want)
	}
	again := decide(clear.Memory, 6, noon.Add(30*time.Second))
	if !again.Memory.Brake.On || !again.Memory.Brake.ClearSince.IsZero() {
		t.Errorf("lost again within the hold-off: got %+v, want the hold-off to begin anew", again.Memory.Brake)
	}
	returning := decide(clear.Memory, 1, noon.Add(30*time.Second))
	if want := noon.Add(30*time.Second + cfg.BrakeHoldOff); !returning.Next.Equal(want) {
		t.Errorf("another one returns: got the end at %v, want the hold-off to begin anew, until %v", returning.Next, want)
	}
	worse := decide(clear.Memory, 3, noon.Add(30*time.Second))
	if want := noon.Add(time.Second + cfg.BrakeHoldOff); !worse.Next.Equal(want) {
		t.Errorf("another one is lost: got the end at %v, want it to stay at %v", worse.Next, want)
	}
	released := decide(clear.Memory, 2, noon.Add(time.Second+cfg.BrakeHoldOff))
	if released.Memory.Brake.On || len(released.Evict) != 1 {
		t.Errorf("after the hold-off: got on %v and evictions %v, want off and one", released.Memory.Brake.On, released.Evict)
	}
}

func TestDrainAndBrake(t *testing.T) {
	t.Parallel()
	clusters := ten(6, time.Hour)
	clusters["c0"] = with(clusters["c0"], func(c *Cluster) { c.Draining = true })
	clusters["c9"] = with(clusters["c9"], func(c *Cluster) { c.Draining = true })
	got := config().Decide(State{
		Clusters: clusters, Deployments: []Deployment{opted("lost", "c0"), opted("well", "c9")}, Placed: plenty,
	}, noon)
	if diff := cmp.Diff(evicted(got), named("well from c9: Drain")); diff != "" {
		t.Errorf("only the healthy drained cluster is left while the brake is on: got -, want +\n%s", diff)
	}
}

// TestConfirm: a leader acts on what it has itself found for long enough, however
// long others have.
func TestConfirm(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.Confirm, cfg.Relook = 30*time.Second, 40*time.Second
	zero := time.Duration(0)
	atOnce := Deployment{Key: "x", Failover: true, Toleration: &zero, Placed: named("a")}
	tests := []struct {
		name       string
		begun      time.Duration // ago
		clusters   map[string]Cluster
		deployment Deployment
		want       []string
		next       time.Duration
	}{
		{"no toleration: clusters lost at the same moment must show first", time.Hour, four(map[string]Cluster{"a": dead(20 * time.Second)}), atOnce, nil, 10 * time.Second},
		{"no toleration, once they would have", time.Hour, four(map[string]Cluster{"a": dead(30 * time.Second)}), atOnce, named("x from a: Failover"), firstPatience},
		{"a longer toleration is no longer for it", time.Hour, four(map[string]Cluster{"a": dead(5 * time.Minute)}), opted("x", "a"), named("x from a: Failover"), firstPatience},
		{"a new leader looks again before it believes a record", 30 * time.Second, four(map[string]Cluster{"a": dead(time.Hour)}), opted("x", "a"), nil, 10 * time.Second},
		{"a new leader that has looked", 40 * time.Second, four(map[string]Cluster{"a": dead(time.Hour)}), opted("x", "a"), named("x from a: Failover"), firstPatience},
		{"a new leader looks again before anybody returns", 30 * time.Second, four(map[string]Cluster{"a": healthy()}), avoiding("x", "a", model.AvoidFailover, "b"), nil, 10 * time.Second},
		{"a drained cluster is left without", 0, four(map[string]Cluster{"a": with(healthy(), func(c *Cluster) { c.Draining = true })}), atOnce, named("x from a: Drain"), firstPatience},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := cfg.Decide(State{
				Clusters: tt.clusters, Deployments: []Deployment{tt.deployment}, Placed: plenty, Begun: noon.Add(-tt.begun),
			}, noon)
			if diff := cmp.Diff(evicted(got), tt.want); diff != "" || len(got.Readmit) > 0 {
				t.Errorf("got readmissions %v, evictions: got -, want +\n%s", got.Readmit, diff)
			}
			if want := noon.Add(tt.next); !got.Next.Equal(want) {
				t.Errorf("next look: got %v, want %v", got.Next, want)
			}
		})
	}
}

func TestReadmit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		cluster *Cluster
		reason  string
		want    []string
		next    time.Time
	}{
		{name: "a cluster that is lost stays avoided", cluster: new(dead(time.Hour)), reason: model.AvoidFailover},
		{
			name: "one that has just returned has to be stable first", cluster: new(cluster(model.ClusterHealthy, ago(10*time.Second))),
			reason: model.AvoidFailover, next: noon.Add(20 * time.Second),
		},
		{
			name: "one that has been stable for the recovery period", cluster: new(cluster(model.ClusterHealthy, ago(30*time.Second))),
			reason: model.AvoidFailover, want: named("x to a"),
		},
		{name: "a degraded one has not returned", cluster: new(cluster(model.ClusterDegraded, ago(time.Hour))), reason: model.AvoidFailover},
		{name: "a cordoned one takes nothing", cluster: new(with(healthy(), func(c *Cluster) { c.Cordoned = true })), reason: model.AvoidFailover},
		{name: "a draining one takes nothing", cluster: new(with(healthy(), func(c *Cluster) { c.Draining = true })), reason: model.AvoidDrain},
		{
			name: "one that is not drained any more, at once", cluster: new(cluster(model.ClusterHealthy, ago(time.Second))),
			reason: model.AvoidDrain, want: named("x to a"),
		},
		{name: "one that was drained and is lost", cluster: new(dead(time.Second)), reason: model.AvoidDrain},
		{name: "one that does not exist any more", reason: model.AvoidFailover, want: named("x to a")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			clusters := four(nil)
			delete(clusters, "a")
			if tt.cluster != nil {
				clusters["a"] = *tt.cluster
			}
			got := config().Decide(State{
				Clusters: clusters, Deployments: []Deployment{avoiding("x", "a", tt.reason, "b")}, Placed: plenty,
			}, noon)
			if diff := cmp.Diff(readmitted(got), tt.want); diff != "" {
				t.Errorf("readmissions: got -, want +\n%s", diff)
			}
			if len(tt.want) > 0 {
				tt.next = noon.Add(firstPatience) // whether it was heard
			}
			if !got.Next.Equal(tt.next) {
				t.Errorf("next look: got %v, want %v", got.Next, tt.next)
			}
		})
	}
}

// lost are so many deployments in the lost cluster c0.
func lost(count int) []Deployment {
	var list []Deployment
	for n := range count {
		list = append(list, opted(fmt.Sprintf("d%03d", n), "c0"))
	}
	return list
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig() // 100 a minute
	state := State{Clusters: ten(1, time.Hour), Deployments: lost(300), Placed: 300}
	at, total := noon, 0
	for round := range 4 {
		d := cfg.Decide(state, at)
		total += len(d.Evict)
		if want := []int{30, 30 + 1, 30 + 2, 30 + 3}[round]; total != want {
			t.Fatalf("round %d: got %d evictions in all, want %d", round, total, want)
		}
		if want := 300; d.Waiting["c0"] != want {
			t.Errorf("round %d: got %d waiting, want %d", round, d.Waiting["c0"], want)
		}
		if step := d.Next.Sub(at); step <= 0 || step > 600*time.Millisecond {
			t.Fatalf("round %d: got the next look after %v, want it when the next move is due", round, step)
		}
		state.Memory, at = d.Memory, d.Next
	}
	// A minute later another hundred could go, but no more than the burst at once.
	if d := cfg.Decide(state, at.Add(time.Minute)); len(d.Evict) != 30 {
		t.Errorf("after a pause: got %d evictions, want the burst of 30", len(d.Evict))
	}
}

func TestBurst(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	for placed, want := range map[int]int{0: 1, 1: 1, 10: 1, 11: 2, 300: 30, 10_000: 100} {
		if got := cfg.Decide(State{Clusters: ten(1, time.Hour), Deployments: lost(1000), Placed: placed}, noon); len(got.Evict) != want {
			t.Errorf("%d placed: got a burst of %d, want %d", placed, len(got.Evict), want)
		}
	}
}

func TestLongestLostLeavesFirst(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.MaxEvictionsPerMinute = 2
	clusters := four(map[string]Cluster{"a": dead(10 * time.Minute), "b": dead(20 * time.Minute)})
	got := cfg.Decide(State{
		Clusters: clusters, Deployments: []Deployment{opted("x", "a"), opted("y", "b"), opted("z", "a")}, Placed: plenty,
	}, noon)
	if diff := cmp.Diff(evicted(got), named("y from b: Failover", "x from a: Failover")); diff != "" {
		t.Errorf("got -, want +\n%s", diff)
	}
}

// TestNoFitMeansKeep: the dispatcher, who was asked and found no place, is asked
// again later, after all those that were not asked for yet.
func TestNoFitMeansKeep(t *testing.T) {
	t.Parallel()
	cfg := config()
	state := State{Clusters: ten(1, time.Hour), Deployments: lost(2), Placed: plenty}
	first := cfg.Decide(state, noon)
	if len(first.Evict) != 2 {
		t.Fatalf("got %d evictions, want 2", len(first.Evict))
	}
	state.Memory = first.Memory
	soon := cfg.Decide(state, noon.Add(time.Second))
	if len(soon.Evict) != 0 || len(soon.Withdraw) != 0 || !soon.Next.Equal(noon.Add(firstPatience)) {
		t.Errorf("a second later: got %+v, want nothing until the retry", soon)
	}
	at := noon.Add(firstPatience)
	second := cfg.Decide(state, at)
	if len(second.Evict) != 2 {
		t.Fatalf("got %d evictions, want both asked for again: the dispatcher may not have heard", len(second.Evict))
	}
	state.Memory = second.Memory
	if later := cfg.Decide(state, at.Add(firstPatience)); len(later.Evict) != 0 || !later.Next.Equal(at.Add(cfg.RetryInterval)) {
		t.Errorf("after the second time: got %+v, want nothing until the retry interval is over", later)
	}
	state.Deployments = append(state.Deployments, opted("new", "c0"))
	at = at.Add(cfg.RetryInterval)
	state.Memory.Budget = Budget{Moves: 2, At: at}
	later := cfg.Decide(state, at)
	if diff := cmp.Diff(evicted(later), named("new from c0: Failover", "d000 from c0: Failover")); diff != "" {
		t.Errorf("at the retry: got -, want +\n%s", diff)
	}
}

func TestAskedMovesEndWhenTheyAreRecorded(t *testing.T) {
	t.Parallel()
	cfg := config()
	asked := cfg.Decide(State{Clusters: ten(1, time.Hour), Deployments: lost(1), Placed: plenty}, noon)
	moved := cfg.Decide(State{
		Clusters: ten(1, time.Hour), Deployments: []Deployment{avoiding("d000", "c0", model.AvoidFailover, "c5")}, Placed: plenty, Memory: asked.Memory,
	}, noon.Add(time.Second))
	if len(moved.Memory.Asked) != 0 || len(moved.Withdraw) != 0 || len(moved.Waiting) != 0 || !moved.Next.IsZero() {
		t.Errorf("got %+v, want nothing left to do", moved)
	}
}

func TestQueuedEvictionsAreDropped(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*State)
	}{
		{"when the cluster returns", func(s *State) { s.Clusters = ten(0, 0) }},
		{"when the cluster returns and its deployments are of no concern any more", func(s *State) {
			s.Clusters, s.Deployments = ten(0, 0), nil
		}},
		{"when the deployment opts out", func(s *State) { s.Deployments[0].Failover = false }},
		{"when the brake comes on", func(s *State) { s.Clusters = ten(6, time.Hour) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := config()
			state := State{Clusters: ten(1, time.Hour), Deployments: lost(1), Placed: plenty}
			asked := cfg.Decide(state, noon)
			if len(asked.Evict) != 1 {
				t.Fatalf("got %d evictions, want 1", len(asked.Evict))
			}
			state.Memory = asked.Memory
			tt.change(&state)
			got := cfg.Decide(state, noon.Add(time.Second))
			if diff := cmp.Diff(got.Withdraw, []Place{{"d000", "c0"}}); diff != "" {
				t.Errorf("withdrawn: got -, want +\n%s", diff)
			}
			if len(got.Memory.Asked) != 0 || len(got.Evict) != 0 {
				t.Errorf("got %+v, want nothing asked for", got)
			}
		})
	}
}

// TestReturnsShareTheBudget: what leaves goes before what returns.
func TestReturnsShareTheBudget(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.MaxEvictionsPerMinute = 2
	got := cfg.Decide(State{
		Clusters:    four(map[string]Cluster{"a": dead(time.Hour)}),
		Deployments: []Deployment{avoiding("x", "b", model.AvoidFailover, "c"), avoiding("y", "b", model.AvoidFailover, "c"), opted("z", "a")},
		Placed:      plenty,
	}, noon)
	if len(got.Evict) != 1 || len(got.Readmit) != 1 || got.Next.IsZero() {
		t.Errorf("got %d evictions, %d readmissions, next %v, want one of each and another look", len(got.Evict), len(got.Readmit), got.Next)
	}
}

// TestDecideIsPure: the same input, the same decisions, whatever order the
// deployments come in, and an input that is as before.
func TestDecideIsPure(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	state := State{Clusters: ten(2, time.Hour), Deployments: lost(50), Placed: 100, Memory: Memory{Asked: map[Place]Ask{{"d007", "c0"}: {At: ago(time.Hour)}}}}
	first := cfg.Decide(state, noon)
	slices.Reverse(state.Deployments)
	if diff := cmp.Diff(cfg.Decide(state, noon), first); diff != "" {
		t.Errorf("the order of deployments changed the decisions: got -, want +\n%s", diff)
	}
	if len(state.Memory.Asked) != 1 {
		t.Errorf("the input was changed: %v", state.Memory.Asked)
	}
}

func BenchmarkDecide(b *testing.B) {
	cfg := DefaultConfig()
	clusters := map[string]Cluster{}
	for n := range 1000 {
		clusters[fmt.Sprintf("c%d", n)] = healthy()
	}
	clusters["c0"] = dead(time.Hour)
	state := State{Clusters: clusters, Deployments: lost(1000), Placed: plenty}
	for b.Loop() {
		cfg.Decide(state, noon)
	}
}
