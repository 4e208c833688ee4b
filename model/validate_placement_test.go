package model_test

import (
	"strings"
	"testing"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// placedDeployment uses everything that says where and how a deployment runs.
func placedDeployment() model.Deployment {
	d := model.Deployment{
		Key: "shop.Cart", PackageName: "shop", ClassKey: "Cart", TargetEnvs: []string{"oaas-1"},
		Placement: &model.Placement{
			Clusters: ptr(uint32(2)),
			Selector: map[string]string{"region": "eu"},
			Requirements: []model.LabelRequirement{
				{Key: "zone", Operator: model.LabelIn, Values: []string{"a", "b"}},
				{Key: "spot", Operator: model.LabelNotIn, Values: []string{""}},
				{Key: "gpu", Operator: model.LabelExists},
				{Key: "example.com/old", Operator: model.LabelDoesNotExist},
			},
			Spread:       []model.SpreadConstraint{{Label: "zone", MaxSkew: ptr(uint32(1)), Required: true}, {Label: "region"}},
			Affinity:     []model.AffinityTerm{{Class: "shop.User", Required: true}, {Deployment: "shop.User", Weight: ptr(uint32(100))}},
			AntiAffinity: []model.AffinityTerm{{Class: "Batch", Weight: ptr(uint32(1))}},
			Weights:      map[string]uint32{"oaas-1": 0, "oaas-2": 10_000},
		},
		Failover: &model.Failover{Enabled: true, Toleration: ptr(model.Duration("90s")), Backups: []string{"oaas-2", "oaas-3"}, Failback: ptr(false)},
		Rollout: &model.Rollout{
			Strategy: model.RolloutWaves, Wave: ptr(model.Share("25%")), MaxUnavailable: ptr(model.Share("2")), Soak: ptr(model.Duration("0")),
			ProgressDeadline: ptr(model.Duration("10m")), OnFailure: model.OnFailureRollback, Paused: true,
		},
		RollbackOnPartial: ptr(true),
	}
	d.SetDefaults()
	return d
}

func TestValidatePlacement(t *testing.T) {
	t.Parallel()
	const shareRule = "must be a number such as 2 or a percentage such as 25%, got "
	requirement := func(r model.LabelRequirement) func(*model.Deployment) {
		return func(d *model.Deployment) { d.Placement.Requirements = []model.LabelRequirement{r} }
	}
	affinity := func(term model.AffinityTerm) func(*model.Deployment) {
		return func(d *model.Deployment) { d.Placement.AntiAffinity = []model.AffinityTerm{term} }
	}
	backups := func(names ...string) func(*model.Deployment) {
		return func(d *model.Deployment) { d.Failover.Backups = names }
	}
	wave := func(s model.Share) func(*model.Deployment) {
		return func(d *model.Deployment) { d.Rollout.Wave = &s }
	}
	soak := func(s model.Duration) func(*model.Deployment) {
		return func(d *model.Deployment) { d.Rollout.Soak = &s }
	}
	tests := []struct {
		name   string
		change func(*model.Deployment)
		want   []string
	}{
		{"ok", func(*model.Deployment) {}, nil},
		{"ok_empty", func(d *model.Deployment) {
			d.Placement, d.Failover, d.Rollout = &model.Placement{}, &model.Failover{}, &model.Rollout{}
		}, nil},
		{"ok_share_all", wave("100%"), nil},
		{"ok_share_number", wave("10000"), nil},
		{"ok_class_with_dots", affinity(model.AffinityTerm{Class: "a.b.C"}), nil},
		{"clusters_0", func(d *model.Deployment) { d.Placement.Clusters = ptr(uint32(0)) }, []string{"placement.clusters: must be between 1 and 10000, got 0"}},
		{"selector", func(d *model.Deployment) { d.Placement.Selector["a b"] = "c" },
			[]string{`placement.selector["a b"]: the name of the label may only hold letters and digits, and '-', '_' and '.' between them, got "a b"`}},
		{"requirement_empty", requirement(model.LabelRequirement{}), []string{"placement.requirements[0].key: is required", "placement.requirements[0].operator: is required"}},
		{"requirement_operator", requirement(model.LabelRequirement{Key: "a", Operator: "Like"}),
			[]string{`placement.requirements[0].operator: must be one of In, NotIn, Exists, DoesNotExist, got "Like"`}},
		{"requirement_without_values", requirement(model.LabelRequirement{Key: "a", Operator: model.LabelIn}), []string{"placement.requirements[0].values: must not be empty for In"}},
		{"requirement_with_values", requirement(model.LabelRequirement{Key: "a", Operator: model.LabelExists, Values: []string{"b"}}), []string{"placement.requirements[0].values: must be empty for Exists"}},
		{"requirement_value_twice", requirement(model.LabelRequirement{Key: "a", Operator: model.LabelNotIn, Values: []string{"b", "b"}}), []string{`placement.requirements[0].values[1]: names "b" a second time`}},
		{"requirement_value", requirement(model.LabelRequirement{Key: "a", Operator: model.LabelIn, Values: []string{"_"}}),
			[]string{`placement.requirements[0].values[0]: may only hold letters and digits, and '-', '_' and '.' between them, got "_"`}},
		{"spread_label", func(d *model.Deployment) { d.Placement.Spread[0].Label = "" }, []string{"placement.spread[0].label: is required"}},
		{"spread_twice", func(d *model.Deployment) { d.Placement.Spread[1].Label = "zone" }, []string{`placement.spread[1].label: "zone" is used a second time`}},
		{"spread_skew", func(d *model.Deployment) { d.Placement.Spread[0].MaxSkew = ptr(uint32(0)) }, []string{"placement.spread[0].max_skew: must be between 1 and 10000, got 0"}},
		{"affinity_nobody", affinity(model.AffinityTerm{Required: true}), []string{"placement.anti_affinity[0]: must name a class or a deployment"}},
		{"affinity_both", affinity(model.AffinityTerm{Class: "C", Deployment: "d"}), []string{"placement.anti_affinity[0]: must name a class or a deployment, not both"}},
		{"affinity_itself", affinity(model.AffinityTerm{Deployment: "shop.Cart"}), []string{"placement.anti_affinity[0].deployment: must not be the deployment itself"}},
		{"affinity_class", affinity(model.AffinityTerm{Class: "a/b"}), []string{`placement.anti_affinity[0].class: must be CLASS or PACKAGE.CLASS, got "a/b"`}},
		{"affinity_class_long", affinity(model.AffinityTerm{Class: strings.Repeat("x", 508)}), []string{"placement.anti_affinity[0].class: must be at most 507 characters, got 508"}},
		{"affinity_deployment", affinity(model.AffinityTerm{Deployment: "a/b"}), []string{`placement.anti_affinity[0].deployment: may only hold letters, digits, '.', '_' and '-', got "a/b"`}},
		{"affinity_weight_0", affinity(model.AffinityTerm{Class: "C", Weight: ptr(uint32(0))}), []string{"placement.anti_affinity[0].weight: must be between 1 and 100, got 0"}},
		{"affinity_weight", affinity(model.AffinityTerm{Class: "C", Weight: ptr(uint32(101))}), []string{"placement.anti_affinity[0].weight: must be between 1 and 100, got 101"}},
		{"weight_cluster", func(d *model.Deployment) { d.Placement.Weights = map[string]uint32{"a.b": 1} },
			[]string{`placement.weights["a.b"]: the name of the cluster may only hold letters, digits, '_' and '-', got "a.b"`}},
		{"weight", func(d *model.Deployment) { d.Placement.Weights["oaas-1"] = 10_001 }, []string{"placement.weights.oaas-1: must be between 0 and 10000, got 10001"}},
		{"many", func(d *model.Deployment) {
			d.Placement.Spread = make([]model.SpreadConstraint, 101)
			d.Placement.Affinity = make([]model.AffinityTerm, 101)
			d.Placement.Requirements = make([]model.LabelRequirement, 101)
		}, []string{
			"placement.requirements: must not have more than 100 items, got 101",
			"placement.spread: must not have more than 100 items, got 101",
			"placement.affinity: must not have more than 100 items, got 101",
		}},
		{"toleration", func(d *model.Deployment) { d.Failover.Toleration = ptr(model.Duration("-1s")) }, []string{`failover.toleration: must be a duration such as 30s or 5m, got "-1s"`}},
		{"backup_target", backups("oaas-2", "oaas-1"), []string{`failover.backups[1]: must not be one of target_envs, got "oaas-1"`}},
		{"backup_twice", backups("b", "b"), []string{`failover.backups[1]: names "b" a second time`}},
		{"backup_name", backups("a.b"), []string{`failover.backups[0]: may only hold letters, digits, '_' and '-', got "a.b"`}},
		{"strategy", func(d *model.Deployment) { d.Rollout.Strategy = "canary" }, []string{`rollout.strategy: must be one of parallel, waves, got "canary"`}},
		{"wave_0", wave("0"), []string{"rollout.wave: must be between 1 and 10000, got 0"}},
		{"wave_percent_0", wave("0%"), []string{"rollout.wave: must be between 1 and 100, got 0%"}},
		{"wave_percent", wave("101%"), []string{"rollout.wave: must be between 1 and 100, got 101%"}},
		{"wave_text", wave("some"), []string{"rollout.wave: " + shareRule + `"some"`}},
		{"wave_empty", wave(""), []string{"rollout.wave: " + shareRule + `""`}},
		{"wave_signed", wave("+1"), []string{"rollout.wave: " + shareRule + `"+1"`}},
		{"wave_endless", wave("99999999999999999999"), []string{"rollout.wave: " + shareRule + `"99999999999999999999"`}},
		{"wave_two_percent_signs", wave("5%%"), []string{"rollout.wave: " + shareRule + `"5%%"`}},
		{"soak", soak("1 minute"), []string{`rollout.soak: must be a duration such as 30s or 5m, got "1 minute"`}},
		{"soak_empty", soak(""), []string{`rollout.soak: must be a duration such as 30s or 5m, got ""`}},
		{"soak_long", soak("8785h"), []string{"rollout.soak: must be at most 8784h0m0s, got 8785h"}},
		{"deadline_0", func(d *model.Deployment) { d.Rollout.ProgressDeadline = ptr(model.Duration("0s")) }, []string{"rollout.progress_deadline: must be more than 0, got 0s"}},
		{"on_failure", func(d *model.Deployment) { d.Rollout.OnFailure = "panic" }, []string{`rollout.on_failure: must be one of pause, rollback, continue, got "panic"`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := placedDeployment()
			tt.change(&d)
			wantEqual(t, textsOf(d.Validate()), tt.want)
		})
	}
}

func TestDecodePlacement(t *testing.T) {
	t.Parallel()
	const head = "key: d\npackage_name: p\nclass_key: C\n"
	tests := []struct {
		name, body string
		got        func(model.Deployment) any
		want       any
	}{
		{"target_clusters", "target_clusters: [a, b]", func(d model.Deployment) any { return d.TargetEnvs }, []string{"a", "b"}},
		{"available_clusters", "available_clusters: [a]", func(d model.Deployment) any { return d.AvailableEnvs }, []string{"a"}},
		{"share_number", "rollout: {wave: 2}", func(d model.Deployment) any { return d.Rollout.Wave }, ptr(model.Share("2"))},
		{"share_percent", "rollout: {wave: 50%}", func(d model.Deployment) any { return d.Rollout.Wave }, ptr(model.Share("50%"))},
		{"share_null", "rollout: {wave: }", func(d model.Deployment) any { return d.Rollout.Wave }, (*model.Share)(nil)},
		{"duration_number", "failover: {toleration: 60}", func(d model.Deployment) any { return d.Failover.Toleration.Value() }, time.Minute},
		{"duration_text", "failover: {toleration: 1m}", func(d model.Deployment) any { return d.Failover.Toleration.Value() }, time.Minute},
		{"selector_plain", "placement: {selector: {zone: 1}}", func(d model.Deployment) any { return d.Placement.Selector }, map[string]string{"zone": "1"}},
		{"weights", "placement: {weights: {a: 0, b: 3}}", func(d model.Deployment) any { return d.Placement.Weights }, map[string]uint32{"a": 0, "b": 3}},
		{"rollback_on_partial", "rollback_on_partial: false", func(d model.Deployment) any { return d.RollbackOnPartial }, ptr(false)},
		{
			"observed_is_ignored", "revision: x\nrollout_status: 1\nplaced_on: 2\navoided_clusters: 3\nobserved_generation: 4",
			func(d model.Deployment) any { return d.DeploymentObserved }, model.DeploymentObserved{},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d, unknown, err := model.DecodeDeployment([]byte(head+tt.body), model.YAML)
			if err != nil || unknown != nil {
				t.Fatalf("got unknown %v, error %v", unknown, err)
			}
			wantEqual(t, tt.got(d), tt.want)
		})
	}
	_, _, err := model.DecodeDeployment([]byte(head+"target_envs: [a]\ntarget_clusters: [b]"), model.YAML)
	wantEqual(t, problemsOf(t, err), []string{"target_clusters: is given twice"})
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[model.Duration]time.Duration{
		"90": 90 * time.Second, "0": 0, "1m30s": 90 * time.Second, "250ms": 250 * time.Millisecond, "nonsense": 0, "-5s": 0, "": 0,
	} {
		if got := text.Or(time.Hour); got != want {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
	}
	var none *model.Duration
	wantEqual(t, none.Value(), time.Duration(0))
	wantEqual(t, none.Or(time.Hour), time.Hour)
}

func TestShare(t *testing.T) {
	t.Parallel()
	tests := []struct {
		share                 *model.Share
		total, low, otherwise int
		want                  int
	}{
		{nil, 10, 1, 1, 1}, {nil, 10, 1, 99, 10}, {nil, 0, 1, 1, 1},
		{ptr(model.Share("3")), 10, 1, 1, 3}, {ptr(model.Share("30")), 10, 1, 1, 10},
		{ptr(model.Share("25%")), 10, 1, 1, 3}, {ptr(model.Share("1%")), 10, 1, 1, 1}, {ptr(model.Share("100%")), 10, 1, 1, 10},
		{ptr(model.Share("25%")), 8, 1, 1, 2}, {ptr(model.Share("50%")), 1, 1, 1, 1},
	}
	for _, tt := range tests {
		if got := tt.share.Of(tt.total, tt.low, tt.otherwise); got != tt.want {
			t.Errorf("%v of %d: got %d, want %d", tt.share, tt.total, got, tt.want)
		}
	}
}

func TestRolloutDefaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		rollout *model.Rollout
		want    model.RolloutStrategy
	}{
		{"none", nil, model.RolloutParallel},
		{"empty", &model.Rollout{}, model.RolloutParallel},
		{"only_paused", &model.Rollout{Paused: true}, model.RolloutParallel},
		{"wave", &model.Rollout{Wave: ptr(model.Share("1"))}, model.RolloutWaves},
		{"max_unavailable", &model.Rollout{MaxUnavailable: ptr(model.Share("1"))}, model.RolloutWaves},
		{"soak", &model.Rollout{Soak: ptr(model.Duration("1s"))}, model.RolloutWaves},
		{"said", &model.Rollout{Strategy: model.RolloutParallel, Wave: ptr(model.Share("1"))}, model.RolloutParallel},
	}
	for _, tt := range tests {
		if got := tt.rollout.Way(); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
		wantEqual(t, tt.rollout.FailureAction(), model.OnFailurePause)
	}
	wantEqual(t, (&model.Rollout{OnFailure: model.OnFailureContinue}).FailureAction(), model.OnFailureContinue)
}
