package crm

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
)

func mustPlan(t *testing.T, d model.Deployment, p model.Package, clusters ...string) Plan {
	t.Helper()
	plan, err := MakePlan(d, p, clusters)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func TestPlanSelectsEnvs(t *testing.T) {
	t.Parallel()
	clusters := []string{"a", "b", "c"}
	cases := map[string]struct {
		targets, available, want, unknown []string
		reason                            string
	}{
		"targets in order":            {targets: []string{"c", "a"}, want: []string{"c", "a"}},
		"targets once each":           {targets: []string{"b", "a", "b"}, want: []string{"b", "a"}},
		"unknown target":              {targets: []string{"x", "a", "x"}, want: []string{"a"}, unknown: []string{"x"}},
		"only unknown targets":        {targets: []string{"x"}, unknown: []string{"x"}, reason: ReasonUnknownEnvironment},
		"targets before available":    {targets: []string{"a"}, available: []string{"b"}, want: []string{"a"}},
		"available":                   {available: []string{"b", "x", "a"}, want: []string{"b", "a"}},
		"nothing available is usable": {available: []string{"x"}, reason: ReasonNoEnvironment},
		"all":                         {want: []string{"a", "b", "c"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := model.Deployment{Key: "d", PackageName: "shop", ClassKey: "Cart", TargetEnvs: c.targets, AvailableEnvs: c.available}
			plan, err := MakePlan(d, shop("img"), clusters)
			var planErr *PlanError
			if errors.As(err, &planErr); c.reason != "" && (planErr == nil || planErr.Reason != c.reason) {
				t.Fatalf("error: got %v, want reason %s", err, c.reason)
			}
			if c.reason == "" && err != nil {
				t.Fatal(err)
			}
			if got := plan.SelectedEnvs(); !slices.Equal(got, c.want) {
				t.Errorf("selected: got %v, want %v", got, c.want)
			}
			if !slices.Equal(plan.UnknownEnvs, c.unknown) {
				t.Errorf("unknown: got %v, want %v", plan.UnknownEnvs, c.unknown)
			}
		})
	}
	_, err := MakePlan(model.Deployment{ClassKey: "Cart"}, shop("img"), nil)
	if planErr := (*PlanError)(nil); !errors.As(err, &planErr) || planErr.Reason != ReasonNoEnvironment {
		t.Errorf("without clusters: got %v, want reason NoEnvironment", err)
	}
}

func TestPlanFillsDefaults(t *testing.T) {
	t.Parallel()
	p := shop("img:1")
	p.Functions = append(p.Functions, model.Function{Key: "Cart.sum", Config: map[string]string{"K": "v"}})
	p.Classes[0].FunctionBindings = append(p.Classes[0].FunctionBindings,
		model.FunctionBinding{Name: "sum", FunctionKey: "Cart.sum"},
		model.FunctionBinding{Name: "plus", FunctionKey: "Cart.add"})
	d := model.Deployment{
		Key: "d", PackageName: "shop", ClassKey: "Cart", TargetEnvs: []string{"a", "b"},
		EnvTemplates: map[string]string{"b": "knative"}, Telemetry: &model.TelemetryConfig{},
	}
	d.Generation = 7
	plan := mustPlan(t, d, p, "a", "b")
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
	two, info := uint32(2), "info"
	wantODGM := &model.ODGMDataSpec{
		Collections: []string{"shop.Cart"}, ReplicaCount: &two, Log: &info, EnvNodeIDs: a.ODGM.EnvNodeIDs,
	}
	if diff := cmp.Diff(wantODGM, a.ODGM); diff != "" {
		t.Errorf("odgm (-want +got):\n%s", diff)
	}
	if len(a.ODGM.EnvNodeIDs["a"]) != 1 || len(a.ODGM.EnvNodeIDs["b"]) != 1 {
		t.Errorf("node ids: got %v, want one for each environment", a.ODGM.EnvNodeIDs)
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
	if a.TargetEnv != "a" || a.TargetCluster != "a" || a.Generation != 7 || a.DeploymentKey != "d" {
		t.Errorf("got unit %+v, want one for a of generation 7 of d", a)
	}
}

func TestPlanKeepsWhatTheClientGave(t *testing.T) {
	t.Parallel()
	five, debug, off := uint32(5), "debug", false
	d := model.Deployment{
		Key: "d", PackageName: "shop", ClassKey: "Cart", TargetEnvs: []string{"a", "b"},
		Functions: []model.FunctionDeploymentSpec{
			{FunctionKey: "own", QoSRequirement: &model.QoSRequirement{Throughput: 1}}, {FunctionKey: "own"},
		},
		ODGM: &model.ODGMDataSpec{
			Collections: []string{"mine"}, ReplicaCount: &five, Log: &debug,
			EnvNodeIDs: map[string][]uint64{"a": {9, 8}, "gone": {1}},
		},
		Telemetry: &model.TelemetryConfig{Enabled: &off},
	}
	unit := mustPlan(t, d, shop("img"), "a", "b").Units[0]
	if len(unit.Functions) != 1 || unit.Functions[0].FunctionKey != "own" || unit.Functions[0].QoSRequirement != nil {
		t.Errorf("functions: got %+v, want own once, without its QoS", unit.Functions)
	}
	if *unit.ODGM.ReplicaCount != 5 || *unit.ODGM.Log != "debug" || unit.ODGM.Collections[0] != "mine" {
		t.Errorf("odgm: got %+v, want the client's", unit.ODGM)
	}
	ids := unit.ODGM.EnvNodeIDs
	if !slices.Equal(ids["a"], []uint64{9, 8}) || len(ids["b"]) != 1 || len(ids) != 2 {
		t.Errorf("node ids: got %v, want the client's for a, one for b, no others", ids)
	}
	if *unit.Telemetry.Enabled {
		t.Error("telemetry: got enabled, want off")
	}
}

func TestPlanErrors(t *testing.T) {
	t.Parallel()
	d := cart("a")
	d.ClassKey = "Nothing"
	_, err := MakePlan(d, shop("img"), []string{"a"})
	if planErr := (*PlanError)(nil); !errors.As(err, &planErr) || planErr.Reason != ReasonClassNotFound {
		t.Errorf("got %v, want reason ClassNotFound", err)
	}
	p := shop("img")
	p.Functions = nil
	_, err = MakePlan(cart("a"), p, []string{"a"})
	if planErr := (*PlanError)(nil); !errors.As(err, &planErr) || planErr.Reason != ReasonFunctionNotFound {
		t.Errorf("got %v, want reason FunctionNotFound", err)
	}
	contains(t, err.Error(), "Cart.add")
}

// TestPlanIDsAreGolden fails when a change of the model or of the planner gives
// existing units new ids: that replaces every running unit on upgrade.
func TestPlanIDsAreGolden(t *testing.T) {
	t.Parallel()
	plan := mustPlan(t, cart("oaas-1", "oaas-2"), shop("img:1"), "oaas-1", "oaas-2")
	got := []string{plan.Units[0].ID, plan.Units[1].ID}
	want := []string{"cart-a3t6hfrtrmms5thh", "cart-lmqdzhwo6q4g7l7t"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	ids := plan.Units[0].ODGM.EnvNodeIDs
	if diff := cmp.Diff(map[string][]uint64{"oaas-1": {2937278407}, "oaas-2": {4184263988}}, ids); diff != "" {
		t.Errorf("node ids (-want +got):\n%s", diff)
	}
}

func TestPlanIDFollowsContent(t *testing.T) {
	t.Parallel()
	base := mustPlan(t, cart("a", "b"), shop("img:1"), "a", "b")
	same := func(t *testing.T, d model.Deployment, p model.Package) (a, b bool) {
		t.Helper()
		plan := mustPlan(t, d, p, "a", "b")
		return plan.Units[0].ID == base.Units[0].ID, plan.Units[1].ID == base.Units[1].ID
	}
	cases := map[string]struct {
		change       func(*model.Deployment, *model.Package)
		sameA, sameB bool
	}{
		"nothing":          {func(*model.Deployment, *model.Package) {}, true, true},
		"generation":       {func(d *model.Deployment, _ *model.Package) { d.Generation = 99 }, true, true},
		"observed":         {func(d *model.Deployment, _ *model.Package) { d.Condition = "DOWN" }, true, true},
		"package's text":   {func(_ *model.Deployment, p *model.Package) { p.Metadata.Tags = []string{"x"} }, true, true},
		"template of a":    {func(d *model.Deployment, _ *model.Package) { d.EnvTemplates = map[string]string{"a": "x"} }, false, true},
		"image":            {func(_ *model.Deployment, p *model.Package) { *p = shop("img:2") }, false, false},
		"key":              {func(d *model.Deployment, _ *model.Package) { d.Key = "other" }, false, false},
		"odgm":             {func(d *model.Deployment, _ *model.Package) { d.ODGM = &model.ODGMDataSpec{Log: new(string)} }, false, false},
		"a binding's name": {func(_ *model.Deployment, p *model.Package) { p.Classes[0].FunctionBindings[0].Name = "x" }, false, false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, p := cart("a", "b"), shop("img:1")
			c.change(&d, &p)
			if a, b := same(t, d, p); a != c.sameA || b != c.sameB {
				t.Errorf("same ids: got %v, %v, want %v, %v", a, b, c.sameA, c.sameB)
			}
		})
	}
	if base.Units[0].ID == base.Units[1].ID {
		t.Error("two clusters share an id")
	}
}

func TestPlanIsDeterministic(t *testing.T) {
	t.Parallel()
	d := cart("a", "b")
	d.EnvTemplates = map[string]string{"a": "1", "b": "2", "c": "3"}
	p := shop("img")
	p.Functions[0].Config = map[string]string{"A": "1", "B": "2", "C": "3", "D": "4"}
	first := mustPlan(t, d, p, "a", "b")
	for range 50 {
		if diff := cmp.Diff(first, mustPlan(t, d, p, "a", "b")); diff != "" {
			t.Fatalf("(-first +again):\n%s", diff)
		}
	}
}

func TestUnitIDsAreDNSLabels(t *testing.T) {
	t.Parallel()
	label := regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])$`)
	for key, base := range map[string]string{
		"Record": "record", "my.Class_1": "my-class-1", "9lives": "a9lives", "---": "x", "": "x", "Ünïcode": "n-code",
		"-x-": "x", strings.Repeat("Q", 200): strings.Repeat("q", 46), strings.Repeat("q", 45) + ".tail": strings.Repeat("q", 45),
	} {
		id := unitID(hashUnit(model.DeploymentUnit{ClassKey: key}), model.DeploymentUnit{ClassKey: key})
		if !label.MatchString(id) || len(id) > 63 {
			t.Errorf("class %q: got %q, want a DNS label", key, id)
		}
		if got := id[:strings.LastIndex(id, "-")]; got != base {
			t.Errorf("class %q: got base %q, want %q", key, got, base)
		}
	}
}

func TestNodeIDs(t *testing.T) {
	t.Parallel()
	var envs []string
	for i := range 2000 {
		envs = append(envs, fmt.Sprintf("env-%d", i))
	}
	// An id that the client gave is taken, also when it is what another
	// environment would have got.
	given := map[string][]uint64{"env-1": {nodeID("d", "env-0", 0)}}
	ids := planNodeIDs("d", envs, given)
	seen := map[uint64]string{}
	for env, list := range ids {
		for _, id := range list {
			if other, taken := seen[id]; taken || id == 0 {
				t.Errorf("id %d of %s: got it from %q too, or 0", id, env, other)
			}
			seen[id] = env
		}
	}
	shuffled := slices.Clone(envs)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	if diff := cmp.Diff(ids, planNodeIDs("d", shuffled, given)); diff != "" {
		t.Errorf("ids depend on the order of targets (-want +got):\n%s", diff)
	}
	few := planNodeIDs("d", []string{"env-7", "env-8"}, nil)
	if !slices.Equal(few["env-7"], ids["env-7"]) {
		t.Errorf("env-7: got %v among few and %v among many, want the same", few["env-7"], ids["env-7"])
	}
}
