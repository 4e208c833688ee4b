package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
)

func TestUnitsHaveDefaults(t *testing.T) {
	t.Parallel()
	p := shop("img:1")
	p.Functions = append(p.Functions, model.Function{Key: "Cart.sum", Config: map[string]string{"K": "v"}})
	p.Classes[0].FunctionBindings = append(p.Classes[0].FunctionBindings,
		model.FunctionBinding{Name: "sum", FunctionKey: "Cart.sum", Stateless: true},
		model.FunctionBinding{Name: "plus", FunctionKey: "Cart.add"})
	d := cart("a", "b")
	d.EnvTemplates, d.Telemetry, d.Generation = map[string]string{"b": "knative"}, &model.TelemetryConfig{}, 7
	in := input(d, named("a", "b")...)
	in.Package = p
	plan := mustMake(t, in)
	a, b := plan.Units[0], plan.Units[1]

	var keys []string
	for _, f := range a.Functions {
		keys = append(keys, f.FunctionKey)
	}
	if want := []string{"Cart.add", "Cart.sum"}; !slices.Equal(keys, want) {
		t.Errorf("functions: got %v, want each once: %v", keys, want)
	}
	if got := *a.Functions[0].ProvisionConfig.ContainerImage; got != "img:1" {
		t.Errorf("image: got %s, want img:1", got)
	}
	if len(a.FunctionBindings) != 3 {
		t.Errorf("bindings: got %d, want 3", len(a.FunctionBindings))
	}
	ids := a.ODGM.EnvNodeIDs
	if len(ids["a"]) != 1 || len(ids["b"]) != 1 {
		t.Fatalf("node ids: got %v, want one for each cluster", ids)
	}
	nodes := slices.Sorted(slices.Values([]uint64{ids["a"][0], ids["b"][0]}))
	want := &model.UnitODGM{
		Collections: []string{"shop.Cart"}, ReplicaCount: ptr(uint32(2)), Log: ptr("info"), EnvNodeIDs: ids, NodeID: ids["a"][0],
		CollectionAssignments: map[string][]model.ShardAssignment{"shop.Cart": {{Primary: 1, Replica: nodes, Shards: []uint64{1, 2}}}},
		Invocations: map[string]model.FunctionRoute{
			"add": {FunctionKey: "Cart.add"}, "plus": {FunctionKey: "Cart.add"}, "sum": {FunctionKey: "Cart.sum", Stateless: true},
		},
	}
	if diff := cmp.Diff(want, a.ODGM); diff != "" {
		t.Errorf("odgm (-want +got):\n%s", diff)
	}
	if b.ODGM.NodeID != ids["b"][0] {
		t.Errorf("node of b: got %d, want %d", b.ODGM.NodeID, ids["b"][0])
	}
	if a.SelectedTemplate != "" || b.SelectedTemplate != "knative" {
		t.Errorf("templates: got %q and %q, want none and knative", a.SelectedTemplate, b.SelectedTemplate)
	}
	if a.Telemetry.Enabled == nil || !*a.Telemetry.Enabled {
		t.Error("telemetry: got not enabled, want enabled")
	}
	if d.Telemetry.Enabled != nil || d.ODGM != nil {
		t.Error("the deployment was changed")
	}
	if a.TargetEnv != "a" || a.TargetCluster != "a" || a.Generation != 7 || a.DeploymentKey != "cart" || a.PackageName != "shop" || a.ClassKey != "Cart" {
		t.Errorf("got unit %+v, want one for a of generation 7 of cart", a)
	}
}

func TestUnitsKeepWhatTheUserGave(t *testing.T) {
	t.Parallel()
	d := cart("a", "b")
	d.Functions = []model.FunctionDeploymentSpec{
		{FunctionKey: "own", QoSRequirement: &model.QoSRequirement{Throughput: 1}}, {FunctionKey: "own"},
	}
	d.ODGM = &model.ODGMDataSpec{
		Collections: []string{"mine", "mine"}, ReplicaCount: ptr(uint32(5)), Log: ptr("debug"), PartitionCount: ptr(uint32(2)), ShardType: ptr("mst"),
		EnvNodeIDs: map[string][]uint64{"a": {9, 8, 0, 9}, "gone": {1}},
	}
	d.Telemetry = &model.TelemetryConfig{Enabled: ptr(false)}
	plan := mustMake(t, input(d, named("a", "b")...))
	unit := plan.Units[0]
	if len(unit.Functions) != 1 || unit.Functions[0].FunctionKey != "own" || unit.Functions[0].QoSRequirement != nil {
		t.Errorf("functions: got %+v, want own once, without its QoS", unit.Functions)
	}
	if len(plan.Functions) != 1 || plan.Functions[0].QoSRequirement == nil {
		t.Errorf("resolved functions: got %+v, want own once, with its QoS", plan.Functions)
	}
	if *unit.ODGM.ReplicaCount != 5 || *unit.ODGM.Log != "debug" || *unit.ODGM.ShardType != "mst" || unit.ODGM.Collections[0] != "mine" {
		t.Errorf("odgm: got %+v, want the user's", unit.ODGM)
	}
	ids := unit.ODGM.EnvNodeIDs
	if !slices.Equal(ids["a"], []uint64{9, 8}) || len(ids["b"]) != 1 || len(ids) != 2 {
		t.Errorf("node ids: got %v, want the user's for a, without 0 and repetition, one for b, no others", ids)
	}
	// Three nodes: no replica twice in one, whatever was asked for.
	for _, shard := range unit.ODGM.CollectionAssignments["mine"] {
		if len(shard.Replica) != 3 || len(shard.Shards) != 3 {
			t.Errorf("shard: got %+v, want 3 replicas", shard)
		}
	}
	if unit.ODGM.Invocations["add"] != (model.FunctionRoute{}) {
		t.Errorf("routes: got %v, want none to a function that is not deployed", unit.ODGM.Invocations)
	}
	if *unit.Telemetry.Enabled {
		t.Error("telemetry: got enabled, want off")
	}
}

func TestPlanErrors(t *testing.T) {
	t.Parallel()
	in := input(cart("a"), named("a")...)
	in.Deployment.ClassKey = "Nothing"
	_, _ = fails(t, in, ReasonClassNotFound)
	in = input(cart("a", "x"), named("a")...)
	in.Package.Functions = nil
	plan, err := fails(t, in, ReasonFunctionNotFound)
	contains(t, err.Error(), "Cart.add")
	if !slices.Equal(plan.UnknownEnvs, []string{"x"}) {
		t.Errorf("unknown: got %v, want x", plan.UnknownEnvs)
	}
}

func TestShardAssignments(t *testing.T) {
	t.Parallel()
	got := assignShards([]string{"x", "y"}, 2, 2, []uint64{10, 20})
	want := map[string][]model.ShardAssignment{
		"x": {{Primary: 1, Replica: []uint64{10, 20}, Shards: []uint64{1, 2}}, {Primary: 3, Replica: []uint64{20, 10}, Shards: []uint64{3, 4}}},
		"y": {{Primary: 5, Replica: []uint64{10, 20}, Shards: []uint64{5, 6}}, {Primary: 7, Replica: []uint64{20, 10}, Shards: []uint64{7, 8}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ids are unique over collections (-want +got):\n%s", diff)
	}
	got = assignShards([]string{"x"}, 4, 9, []uint64{1, 2, 3})
	primaries := map[uint64]int{}
	for _, shard := range got["x"] {
		primaries[shard.Replica[0]]++
		if sorted := slices.Sorted(slices.Values(shard.Replica)); !slices.Equal(sorted, []uint64{1, 2, 3}) {
			t.Errorf("replicas: got %v, want one in each node", shard.Replica)
		}
	}
	if primaries[1] != 2 || primaries[2] != 1 || primaries[3] != 1 {
		t.Errorf("primaries: got %v, want them by turns", primaries)
	}
	d := cart("a")
	d.ODGM = &model.ODGMDataSpec{PartitionCount: ptr(uint32(4_000_000_000))}
	plan := mustMake(t, input(d, named("a")...))
	if plan.Units[0].ODGM.CollectionAssignments != nil {
		t.Error("more shards than can be assigned: got some")
	}
	contains(t, strings.Join(plan.Requirements.Notes, "; "), "4000000000 partitions are too many")
}

func TestScale(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		rps, least, most *uint32
		targets          int
		want             *uint32
		note             string
	}{
		"nothing asked for":         {nil, nil, nil, 1, nil, ""},
		"the user's stays":          {nil, ptr(uint32(3)), ptr(uint32(4)), 1, ptr(uint32(3)), ""},
		"throughput, rounded up":    {ptr(uint32(401)), nil, nil, 1, ptr(uint32(5)), ""},
		"shared by clusters":        {ptr(uint32(401)), nil, nil, 2, ptr(uint32(3)), ""},
		"the user's, being greater": {ptr(uint32(100)), ptr(uint32(7)), nil, 1, ptr(uint32(7)), ""},
		"within max_scale":          {ptr(uint32(1000)), ptr(uint32(1)), ptr(uint32(4)), 1, ptr(uint32(4)), "function Cart.add: min_scale 10 is limited to max_scale 4"},
		"the greatest throughput":   {ptr(^uint32(0)), nil, nil, 1, ptr(uint32(42949673)), ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			names := []string{"a", "b"}[:c.targets]
			in := input(cart(names...), named(names...)...)
			in.Deployment.NFRRequirements.MinThroughputRPS = c.rps
			in.Package.Functions[0].ProvisionConfig.MinScale, in.Package.Functions[0].ProvisionConfig.MaxScale = c.least, c.most
			plan := mustMake(t, in)
			got := plan.Units[0].Functions[0].ProvisionConfig
			if diff := cmp.Diff(c.want, got.MinScale); diff != "" {
				t.Errorf("min_scale (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.most, got.MaxScale); diff != "" {
				t.Errorf("max_scale (-want +got):\n%s", diff)
			}
			if notes := strings.Join(plan.Requirements.Notes, "; "); notes != c.note {
				t.Errorf("notes: got %q, want %q", notes, c.note)
			}
			if own := in.Package.Functions[0].ProvisionConfig; own.MinScale != c.least || plan.Functions[0].ProvisionConfig != own {
				t.Error("the package was changed, or the resolved functions are not its")
			}
		})
	}
	t.Run("a function without configuration gets one", func(t *testing.T) {
		t.Parallel()
		d := cart("a")
		d.Functions = []model.FunctionDeploymentSpec{{FunctionKey: "f"}}
		d.NFRRequirements.MinThroughputRPS = ptr(uint32(250))
		if got := mustMake(t, input(d, named("a")...)).Units[0].Functions[0].ProvisionConfig; got == nil || *got.MinScale != 3 {
			t.Errorf("got %+v, want min_scale 3", got)
		}
	})
}

// grid is cart with a data grid that uses all of its settings.
func grid(targets ...string) model.Deployment {
	d := cart(targets...)
	d.ODGM = &model.ODGMDataSpec{
		Collections: []string{"x", "y"}, PartitionCount: ptr(uint32(3)), ReplicaCount: ptr(uint32(2)), ShardType: ptr("mst"),
		EnvNodeIDs: map[string][]uint64{"oaas-1": {4, 5}},
	}
	d.NFRRequirements = model.NFRRequirements{MinThroughputRPS: ptr(uint32(900)), Availability: ptr(0.99)}
	d.EnvTemplates = map[string]string{"oaas-2": "edge"}
	d.Telemetry = &model.TelemetryConfig{SamplingRate: ptr(0.5)}
	return d
}

// TestIdentityIsGolden fails when a change of the model or of the planner gives
// existing units new ids: that replaces every running unit on upgrade. Or when it
// gives every deployment a new revision.
func TestIdentityIsGolden(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		d        model.Deployment
		ids      []string
		template string
		nodes    map[string][]uint64
	}{
		"plain": {
			cart("oaas-1", "oaas-2"), []string{"cart-ncvqy5udo57ngwww", "cart-ge2vqvwid7a6wbtu"}, "eg3frjp6r5c4z2zs",
			map[string][]uint64{"oaas-1": {2937278407}, "oaas-2": {4184263988}},
		},
		"data grid": {
			grid("oaas-1", "oaas-2"), []string{"cart-3lna3szcyrjlffry", "cart-dl63wjsveql3e5jd"}, "tcp4bk2feh4q74ch",
			map[string][]uint64{"oaas-1": {4, 5}, "oaas-2": {4184263988}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan := mustMake(t, input(c.d, named("oaas-1", "oaas-2")...))
			if got := []string{plan.Units[0].ID, plan.Units[1].ID}; !slices.Equal(got, c.ids) {
				t.Errorf("ids: got %v, want %v", got, c.ids)
			}
			if plan.Template != c.template {
				t.Errorf("template: got %s, want %s", plan.Template, c.template)
			}
			if diff := cmp.Diff(c.nodes, plan.Units[0].ODGM.EnvNodeIDs); diff != "" {
				t.Errorf("node ids (-want +got):\n%s", diff)
			}
		})
	}
}

func TestIdentityFollowsContent(t *testing.T) {
	t.Parallel()
	base := mustMake(t, input(cart("a", "b"), named("a", "b", "c")...))
	cases := map[string]struct {
		change                 func(*Input)
		sameA, sameB, sameWish bool
	}{
		"nothing":        {func(*Input) {}, true, true, true},
		"generation":     {func(in *Input) { in.Deployment.Generation = 99 }, true, true, true},
		"observed":       {func(in *Input) { in.Deployment.Condition = "DOWN" }, true, true, true},
		"package's text": {func(in *Input) { in.Package.Metadata.Tags = []string{"x"} }, true, true, true},
		"rollout":        {func(in *Input) { in.Deployment.Rollout = &model.Rollout{Paused: true} }, true, true, true},
		"placement":      {func(in *Input) { in.Deployment.Placement = &model.Placement{} }, true, true, true},
		"template of a":  {func(in *Input) { in.Deployment.EnvTemplates = map[string]string{"a": "x"} }, false, true, false},
		"image":          {func(in *Input) { in.Package = shop("img:2") }, false, false, false},
		"key":            {func(in *Input) { in.Deployment.Key = "other" }, false, false, false},
		"log":            {func(in *Input) { in.Deployment.ODGM = &model.ODGMDataSpec{Log: ptr("debug")} }, false, false, false},
		"partitions":     {func(in *Input) { in.Deployment.ODGM = &model.ODGMDataSpec{PartitionCount: ptr(uint32(2))} }, false, false, false},
		"binding's name": {func(in *Input) { in.Package.Classes[0].FunctionBindings[0].Name = "x" }, false, false, false},
		"throughput":     {func(in *Input) { in.Deployment.NFRRequirements.MinThroughputRPS = ptr(uint32(9)) }, false, false, false},
		"one more place": {func(in *Input) { in.Deployment.TargetEnvs = []string{"a", "b", "c"} }, false, false, true},
		"node ids":       {func(in *Input) { in.Deployment.ODGM = &model.ODGMDataSpec{EnvNodeIDs: map[string][]uint64{"a": {3}}} }, false, false, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := input(cart("a", "b"), named("a", "b", "c")...)
			c.change(&in)
			plan := mustMake(t, in)
			a, b := plan.Units[0].ID == base.Units[0].ID, plan.Units[1].ID == base.Units[1].ID
			if wish := plan.Template == base.Template; a != c.sameA || b != c.sameB || wish != c.sameWish {
				t.Errorf("same: got %v, %v, wish %v, want %v, %v, %v", a, b, wish, c.sameA, c.sameB, c.sameWish)
			}
		})
	}
	if base.Units[0].ID == base.Units[1].ID {
		t.Error("two clusters share an id")
	}
}

// TestTemplateIsThatOfTheResolvedWish: to return to a revision is to ask for its
// document, with the functions as they were resolved.
func TestTemplateIsThatOfTheResolvedWish(t *testing.T) {
	t.Parallel()
	in := input(grid("oaas-1"), named("oaas-1")...)
	plan := mustMake(t, in)
	in.Deployment.Functions = plan.Functions
	in.Package = shop("img:2") // the package has gone on
	if got := mustMake(t, in).Template; got != plan.Template {
		t.Errorf("got %s, want %s", got, plan.Template)
	}
}

func TestMovedTargetsKeepTheOthersUnits(t *testing.T) {
	t.Parallel()
	in := input(cart("a", "b"), named("a", "b", "c")...)
	first := mustMake(t, in)
	in = again(in, first)
	in.Deployment.TargetEnvs = []string{"b", "c"}
	second := mustMake(t, in)
	selects(t, second, "c", "b")
	if second.Units[1].ID != first.Units[1].ID || second.Placed[0].Replaces != "a" {
		t.Errorf("got %+v and unit %s of b, want c to replace a and b's unit to stay %s", second.Placed, second.Units[1].ID, first.Units[1].ID)
	}
}

func TestUnitIDsAreDNSLabels(t *testing.T) {
	t.Parallel()
	for key, base := range map[string]string{
		"Record": "record", "my.Class_1": "my-class-1", "9lives": "a9lives", "---": "x", "": "x", "Ünïcode": "n-code",
		"-x-": "x", strings.Repeat("Q", 200): strings.Repeat("q", 46), strings.Repeat("q", 45) + ".tail": strings.Repeat("q", 45),
	} {
		unit := model.DeploymentUnit{ClassKey: key}
		id := unitID(hashCommon(unit, model.UnitODGM{}, nil), unit, nil)
		if !dnsLabel.MatchString(id) {
			t.Errorf("class %q: got %q, want a DNS label", key, id)
		}
		if got := id[:strings.LastIndex(id, "-")]; got != base {
			t.Errorf("class %q: got base %q, want %q", key, got, base)
		}
	}
}

func TestNodeIDs(t *testing.T) {
	t.Parallel()
	var names []string
	for i := range 2000 {
		names = append(names, fmt.Sprintf("env-%04d", i))
	}
	// An id that the user gave is taken, also when it is what another cluster would
	// have got.
	d := cart(names...)
	d.ODGM = &model.ODGMDataSpec{EnvNodeIDs: map[string][]uint64{"env-0001": {nodeID(d.Key, "env-0000", 0)}}}
	ids := mustMake(t, input(d, named(names...)...)).Units[0].ODGM.EnvNodeIDs
	seen := map[uint64]string{0: "nobody"}
	for name, list := range ids {
		for _, id := range list {
			if other, taken := seen[id]; taken {
				t.Errorf("id %d of %s: %s has it, too", id, name, other)
			}
			seen[id] = name
		}
	}
	shuffled := slices.Clone(names)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	d.TargetEnvs = shuffled
	if diff := cmp.Diff(ids, mustMake(t, input(d, named(names...)...)).Units[0].ODGM.EnvNodeIDs); diff != "" {
		t.Errorf("ids depend on the order of targets (-want +got):\n%s", diff)
	}
	few := mustMake(t, input(cart("env-0007", "env-0008"), named(names...)...)).Units[0].ODGM.EnvNodeIDs
	if !slices.Equal(few["env-0007"], ids["env-0007"]) {
		t.Errorf("env-0007: got %v among few and %v among many, want the same", few["env-0007"], ids["env-0007"])
	}
}
