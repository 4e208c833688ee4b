package model_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
)

// The user line is what is hashed, compared and stored for ever: a change of
// its form makes every stored document differ from the same one sent again.
func TestEncodeGolden(t *testing.T) {
	t.Parallel()
	p, _, err := model.DecodePackage(readExample(t, "echo.yml"), model.YAML)
	if err != nil {
		t.Fatal(err)
	}
	line, err := model.EncodePackage(p)
	if err != nil {
		t.Fatal(err)
	}
	wantGolden(t, "echo_package.golden", line)
	line, err = model.EncodeDeployment(p.Deployments[0])
	if err != nil {
		t.Fatal(err)
	}
	wantGolden(t, "echo_deployment.golden", line)

	d := validDeployment()
	line, err = model.EncodeDeployment(d)
	if err != nil {
		t.Fatal(err)
	}
	wantGolden(t, "full_deployment.golden", line)

	line, err = model.EncodeDeployment(placedDeployment())
	if err != nil {
		t.Fatal(err)
	}
	wantGolden(t, "placed_deployment.golden", line)

	line, err = model.EncodeCluster(validCluster())
	if err != nil {
		t.Fatal(err)
	}
	wantGolden(t, "cluster.golden", line)
}

func wantGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	want, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, string(got), strings.TrimSuffix(string(want), "\n"))
}

func TestEncodeLeavesSystemFieldsOut(t *testing.T) {
	t.Parallel()
	now := time.Now()
	meta := model.Meta{ResourceVersion: 1, Generation: 2, CreatedAt: &now, UpdatedAt: &now}

	bare := validPackage()
	stamped := validPackage()
	stamped.Meta = meta
	bare.Deployments = nil
	wantSameLine(t, bare, stamped, model.EncodePackage)
	if len(stamped.Deployments) == 0 || stamped.Generation != 2 {
		t.Error("EncodePackage changed its argument")
	}

	plain, observed := validDeployment(), validDeployment()
	observed.Meta = meta
	observed.DeploymentObserved = model.DeploymentObserved{
		ObservedGeneration: 1, DeletionRequestedAt: &now, Condition: model.DeploymentRunning,
		Conditions: []model.Condition{{Type: "Ready"}}, Status: &model.DeploymentStatusSummary{},
	}
	wantSameLine(t, plain, observed, model.EncodeDeployment)

	wantSameLine(t, model.RuntimeState{Key: "k"}, model.RuntimeState{Key: "k", Meta: meta}, model.EncodeRuntimeState)

	cluster, shown := validCluster(), validCluster()
	shown.Meta, shown.Health, shown.Units = meta, &model.ClusterHealth{}, ptr(3)
	wantSameLine(t, cluster, shown, model.EncodeCluster)

	wantSameLine(t, model.Revision{Deployment: plain}, model.Revision{Deployment: observed}, model.EncodeRevision)
}

func wantSameLine[T any](t *testing.T, a, b T, encode func(T) ([]byte, error)) {
	t.Helper()
	first, err := encode(a)
	if err != nil {
		t.Fatal(err)
	}
	second, err := encode(b)
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, string(second), string(first))
}

func TestEncodeForm(t *testing.T) {
	t.Parallel()
	p := model.Package{Name: "p", Version: ptr("<a>&\n\u2028\"é")}
	p.Functions = []model.Function{{Key: "f", Config: map[string]string{"b": "2", "a": "1", "c": "3"}}}
	got, err := model.EncodePackage(p)
	if err != nil {
		t.Fatal(err)
	}
	const want = `"name":"p","version":"<a>&\n` + "\u2028" + `\"é","metadata":{"author":null,"description":null,"tags":[]},` +
		`"dependencies":[],"classes":[],"functions":[{"key":"f","function_type":"","description":null,"provision_config":null,` +
		`"config":{"a":"1","b":"2","c":"3"}}],"deployments":[]`
	wantEqual(t, string(got), want)
}

func TestEncodeRejectsWhatJSONCannotHold(t *testing.T) {
	t.Parallel()
	if line, err := model.EncodePackage(model.Package{Name: "\xff"}); err == nil {
		t.Errorf("got %s, want an error", line)
	}
	if line, err := model.EncodeCluster(model.Cluster{Name: "\xff"}); err == nil {
		t.Errorf("got %s, want an error", line)
	}
	if line, err := model.EncodeClusterHealth(model.ClusterHealth{Availability: ptr(math.NaN())}); err == nil {
		t.Errorf("got %s, want an error", line)
	}
	if line, err := model.EncodeRevision(model.Revision{Cause: "\xff"}); err == nil {
		t.Errorf("got %s, want an error", line)
	}
	if line, err := model.EncodeEvent(model.Event{Message: "\xff"}); err == nil {
		t.Errorf("got %s, want an error", line)
	}
}

// Whatever a package holds, parsing its line gives it back, and encoding that
// gives the same bytes.
func TestEncodeParseRoundTrip(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var p model.Package
		fill(random, reflect.ValueOf(&p).Elem(), 0)
		p.Meta, p.Deployments = model.Meta{}, nil
		p.SetDefaults()
		wantRoundTrip(t, p, model.EncodePackage, model.ParsePackage)

		var d model.Deployment
		fill(random, reflect.ValueOf(&d).Elem(), 0)
		d.Meta, d.DeploymentObserved = model.Meta{}, model.DeploymentObserved{}
		d.SetDefaults()
		wantRoundTrip(t, d, model.EncodeDeployment, model.ParseDeployment)

		var s model.RuntimeState
		fill(random, reflect.ValueOf(&s).Elem(), 0)
		s.Meta = model.Meta{}
		wantRoundTrip(t, s, model.EncodeRuntimeState, model.ParseRuntimeState)

		var c model.Cluster
		fill(random, reflect.ValueOf(&c).Elem(), 0)
		c.Meta, c.Health, c.Units = model.Meta{}, nil, nil
		c.SetDefaults()
		wantRoundTrip(t, c, model.EncodeCluster, model.ParseCluster)

		var r model.Revision
		fill(random, reflect.ValueOf(&r).Elem(), 0)
		r.Deployment = d
		wantObjectRoundTrip(t, r, model.EncodeRevision, model.ParseRevision)

		var h model.ClusterHealth
		fill(random, reflect.ValueOf(&h).Elem(), 0)
		wantObjectRoundTrip(t, h, model.EncodeClusterHealth, model.ParseClusterHealth)

		var e model.Event
		fill(random, reflect.ValueOf(&e).Elem(), 0)
		wantObjectRoundTrip(t, e, model.EncodeEvent, model.ParseEvent)
	}
}

// wantObjectRoundTrip is wantRoundTrip for what is stored as it is encoded.
func wantObjectRoundTrip[T any](t *testing.T, v T, encode func(T) ([]byte, error), parse func([]byte) (T, error)) {
	t.Helper()
	members := func(v T) ([]byte, error) {
		object, err := encode(v)
		if err != nil {
			return nil, err
		}
		return object[1 : len(object)-1], nil
	}
	wantRoundTrip(t, v, members, parse)
}

func wantRoundTrip[T any](t *testing.T, v T, encode func(T) ([]byte, error), parse func([]byte) (T, error)) {
	t.Helper()
	line, err := encode(v)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.ContainsRune(line, '\n') {
		t.Fatalf("line holds a newline: %q", line)
	}
	parsed, err := parse(document(line))
	if err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	if diff := cmp.Diff(v, parsed, emptyIsNil); diff != "" {
		t.Fatalf("unexpected round trip (-want +got):\n%s", diff)
	}
	again, err := encode(parsed)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(line, again) {
		t.Fatalf("got %s, want %s", again, line)
	}
}

// emptyIsNil compares lists and maps by what they hold: an omitted empty one
// comes back as nil.
var emptyIsNil = cmp.FilterValues(func(a, b any) bool {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	list := func(v reflect.Value) bool { return v.Kind() == reflect.Slice || v.Kind() == reflect.Map }
	return list(x) && list(y) && x.Len() == 0 && y.Len() == 0
}, cmp.Comparer(func(_, _ any) bool { return true }))

// document puts the braces around a user line, with a system line before it.
func document(line []byte) []byte {
	return append(append([]byte("{\"resource_version\":0,\n"), line...), '}')
}

// fill sets everything below v to something random.
func fill(random *rand.Rand, v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.String:
		pool := []string{"", "a", "Cart.add", "é\n\t\"\\", "<&>", "\u2028", "500m", "true", "1.0", strings.Repeat("x", 300)}
		v.SetString(pool[random.IntN(len(pool))])
	case reflect.Bool:
		v.SetBool(random.IntN(2) == 0)
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(random.Uint64() >> random.IntN(64) & (1<<v.Type().Bits() - 1))
	case reflect.Float64:
		v.SetFloat(random.NormFloat64() * 1e6)
	case reflect.Pointer:
		if random.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(random, v.Elem(), depth)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), random.IntN(4), 4))
		for i := range v.Len() {
			fill(random, v.Index(i), depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range random.IntN(4) {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(random, key, depth+1)
			fill(random, value, depth+1)
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(random.Int64N(4e9), random.Int64N(1e9)).UTC()))
			return
		}
		for i := range v.NumField() {
			fill(random, v.Field(i), depth+1)
		}
	}
}

func TestParseStoredDocument(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)
	t.Run("package", func(t *testing.T) {
		t.Parallel()
		got, err := model.ParsePackage([]byte("{\"resource_version\":7,\"generation\":2,\"created_at\":\"2026-01-02T03:04:05.0000006Z\"," +
			"\"updated_at\":\"2026-01-02T03:04:05.0000006Z\",\n\"name\":\"p\",\"from_a_newer_release\":{}}"))
		if err != nil {
			t.Fatal(err)
		}
		want := model.Package{Meta: model.Meta{ResourceVersion: 7, Generation: 2, CreatedAt: &at, UpdatedAt: &at}, Name: "p"}
		want.SetDefaults()
		wantEqual(t, got, want)
	})
	t.Run("deployment", func(t *testing.T) {
		t.Parallel()
		got, err := model.ParseDeployment([]byte("{\"resource_version\":7,\"observed_generation\":3,\"condition\":\"RUNNING\"," +
			"\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"reason\":\"AllRunning\",\"last_transition_time\":\"2026-01-02T03:04:05.0000006Z\"}]," +
			"\"status\":{\"replication_factor\":2,\"selected_envs\":[\"a\"]},\n\"key\":\"k\"}"))
		if err != nil {
			t.Fatal(err)
		}
		want := model.Deployment{
			Meta: model.Meta{ResourceVersion: 7},
			DeploymentObserved: model.DeploymentObserved{
				ObservedGeneration: 3, Condition: model.DeploymentRunning,
				Conditions: []model.Condition{{Type: "Ready", Status: model.ConditionTrue, Reason: "AllRunning", LastTransitionTime: at}},
				Status:     &model.DeploymentStatusSummary{ReplicationFactor: 2, SelectedEnvs: []string{"a"}},
			},
			Key: "k", Functions: []model.FunctionDeploymentSpec{},
		}
		wantEqual(t, got, want)
	})
	t.Run("unit", func(t *testing.T) {
		t.Parallel()
		got, err := model.ParseUnit([]byte(`{"id":"u","deployment_key":"k","cluster":"c","generation":1,"phase":"RUNNING","last_transition_time":"2026-01-02T03:04:05.0000006Z"}`))
		if err != nil {
			t.Fatal(err)
		}
		wantEqual(t, got, model.UnitStatus{ID: "u", DeploymentKey: "k", Cluster: "c", Generation: 1, Phase: model.UnitRunning, LastTransitionTime: at})
	})
}

func TestParseRejectsGarbage(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{"", "{", "[]", `{"name":5,"key":5,"id":5,"cluster_name":5,"cause":5}`} {
		if _, err := model.ParsePackage([]byte(doc)); err == nil {
			t.Errorf("package %q: got no error", doc)
		}
		if _, err := model.ParseDeployment([]byte(doc)); err == nil {
			t.Errorf("deployment %q: got no error", doc)
		}
		if _, err := model.ParseRuntimeState([]byte(doc)); err == nil {
			t.Errorf("runtime state %q: got no error", doc)
		}
		if _, err := model.ParseUnit([]byte(doc)); err == nil {
			t.Errorf("unit %q: got no error", doc)
		}
		if _, err := model.ParseCluster([]byte(doc)); err == nil {
			t.Errorf("cluster %q: got no error", doc)
		}
		if _, err := model.ParseClusterHealth([]byte(doc)); err == nil {
			t.Errorf("cluster health %q: got no error", doc)
		}
		if _, err := model.ParseRevision([]byte(doc)); err == nil {
			t.Errorf("revision %q: got no error", doc)
		}
		if _, err := model.ParseEvent([]byte(doc)); err == nil {
			t.Errorf("event %q: got no error", doc)
		}
	}
}
