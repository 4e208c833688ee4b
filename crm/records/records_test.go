package records

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/model"
)

// The transport is tested with real CRMs in crm and httpapi. Here the clients are
// scripted, so that hundreds of hung clusters cost no time.

// scripted is a CRM whose answers a test decides.
type scripted struct {
	crm.Client
	records func(ctx context.Context, filter crm.RecordFilter) ([]model.DeploymentRecord, error)
	record  func(ctx context.Context, id string) (model.DeploymentRecord, error)
}

func (s *scripted) Records(ctx context.Context, _ crm.Origin, filter crm.RecordFilter) ([]model.DeploymentRecord, error) {
	return s.records(ctx, filter)
}

func (s *scripted) Record(ctx context.Context, _ crm.Origin, id string) (model.DeploymentRecord, error) {
	return s.record(ctx, id)
}

func (s *scripted) Status(ctx context.Context, _ crm.Origin, id string) (model.CRMStatus, error) {
	record, err := s.record(ctx, id)
	return model.CRMStatus{ID: record.ID, Status: record.Status.Condition}, err
}

// world is clusters and what is recorded in them.
type world struct {
	clients map[string]crm.Client
	views   []inventory.ClusterView
	units   map[string][]inventory.UnitRef
}

func newWorld() *world {
	return &world{clients: map[string]crm.Client{}, units: map[string][]inventory.UnitRef{}}
}

func (w *world) add(name string, client crm.Client) {
	w.views = append(w.views, inventory.ClusterView{Spec: model.Cluster{Name: name}})
	if client != nil {
		w.clients[name] = client
	}
}

func (w *world) Client(name string) (crm.Client, bool) { c, ok := w.clients[name]; return c, ok }

func (w *world) Clusters() []inventory.ClusterView { return w.views }

func (w *world) Cluster(name string) (inventory.ClusterView, bool) {
	for _, v := range w.views {
		if v.Spec.Name == name {
			return v, true
		}
	}
	return inventory.ClusterView{}, false
}

func (w *world) FindUnit(id string) []inventory.UnitRef { return w.units[id] }

// holding is a CRM that holds n records and serves them in pages.
func holding(prefix string, n int) *scripted {
	all := make([]model.DeploymentRecord, n)
	for i := range all {
		all[i] = model.DeploymentRecord{ID: fmt.Sprintf("%s-%04d", prefix, i), PackageName: "shop", ClassKey: "shop.Cart"}
	}
	return &scripted{
		records: func(_ context.Context, filter crm.RecordFilter) ([]model.DeploymentRecord, error) {
			rest := all[min(filter.Offset, len(all)):]
			return rest[:min(filter.Limit, len(rest))], nil
		},
		record: func(_ context.Context, id string) (model.DeploymentRecord, error) {
			for _, r := range all {
				if r.ID == id {
					return r, nil
				}
			}
			return model.DeploymentRecord{}, &crm.CallError{Class: crm.ClassNotFound, Status: 404, Reason: "not found"}
		},
	}
}

// failing is a CRM that answers everything with an error.
func failing(err error) *scripted {
	return &scripted{
		records: func(context.Context, crm.RecordFilter) ([]model.DeploymentRecord, error) { return nil, err },
		record:  func(context.Context, string) (model.DeploymentRecord, error) { return model.DeploymentRecord{}, err },
	}
}

// hung is a CRM that answers nothing until its caller gives up.
func hung(asked *atomic.Int64) *scripted {
	wait := func(ctx context.Context) error {
		asked.Add(1)
		<-ctx.Done()
		return &crm.CallError{Class: crm.ClassRetryable, Reason: "no answer in time", Err: ctx.Err()}
	}
	return &scripted{
		records: func(ctx context.Context, _ crm.RecordFilter) ([]model.DeploymentRecord, error) { return nil, wait(ctx) },
		record: func(ctx context.Context, _ string) (model.DeploymentRecord, error) {
			return model.DeploymentRecord{}, wait(ctx)
		},
	}
}

func failures(list model.RecordList) string {
	parts := make([]string, len(list.Failed))
	for i, f := range list.Failed {
		parts[i] = f.Cluster + "=" + f.Class + "/" + string(f.Code)
	}
	return strings.Join(parts, " ")
}

func TestListReadsEveryPageOfEveryCluster(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.add("a", holding("x", 23))
	w.add("b", holding("y", 10))
	w.add("c", holding("z", 0))
	cfg := DefaultConfig()
	cfg.PageSize = 10
	list, err := New(w, w, cfg).List(t.Context(), model.RecordQuery{})
	if err != nil || len(list.Failed) != 0 {
		t.Fatalf("%v %v", err, list.Failed)
	}
	var got []string
	for _, r := range list.Records {
		got = append(got, *r.ClusterName+"/"+r.ID)
	}
	var want []string
	for i := range 23 {
		want = append(want, fmt.Sprintf("a/x-%04d", i))
	}
	for i := range 10 {
		want = append(want, fmt.Sprintf("b/y-%04d", i))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

// A CRM whose own limit is below ours holds more than its first page; one that
// holds no more than is recorded there is not asked again.
func TestListGoesOnAfterAShortPage(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	counted := func(n, limit int) *scripted {
		all := holding("x", n)
		return &scripted{records: func(ctx context.Context, f crm.RecordFilter) ([]model.DeploymentRecord, error) {
			calls.Add(1)
			if f.Limit = min(f.Limit, limit); limit > 10 {
				f.Limit = limit
			}
			return all.records(ctx, f)
		}}
	}
	for name, c := range map[string]struct {
		holds, limit, recorded int
		calls                  int64
	}{
		"capped":           {23, 4, 23, 7},
		"capped, foreign":  {30, 4, 23, 9},
		"all at once":      {7, 10, 7, 1},
		"fewer than known": {7, 10, 8, 2},
		"no units there":   {0, 10, 0, 1},
		"no limit at all":  {25, 100, 25, 1},
	} {
		calls.Store(0)
		w := newWorld()
		w.add("a", counted(c.holds, c.limit))
		w.views[0].Units = c.recorded
		cfg := DefaultConfig()
		cfg.PageSize = 10
		list, err := New(w, w, cfg).List(t.Context(), model.RecordQuery{Cluster: "a"})
		if err != nil || len(list.Failed) != 0 || len(list.Records) != c.holds || calls.Load() != c.calls {
			t.Errorf("%s: got %d records, failed %v, %v, in %d calls, want %d in %d", name, len(list.Records), list.Failed, err, calls.Load(), c.holds, c.calls)
		}
	}
}

// A CRM that ignores offsets must not be read for ever, and one that holds more
// than can be taken is cut off and named.
func TestListEndsWhateverTheCRMDoes(t *testing.T) {
	t.Parallel()
	w := newWorld()
	same := holding("x", 10)
	w.add("ignores-offset", &scripted{records: func(ctx context.Context, f crm.RecordFilter) ([]model.DeploymentRecord, error) {
		f.Offset = 0
		return same.records(ctx, f)
	}})
	endless := 0
	w.add("never-ends", &scripted{records: func(_ context.Context, f crm.RecordFilter) ([]model.DeploymentRecord, error) {
		page := make([]model.DeploymentRecord, f.Limit)
		for i := range page {
			endless++
			page[i].ID = fmt.Sprint(endless)
		}
		return page, nil
	}})
	cfg := DefaultConfig()
	cfg.PageSize, cfg.MaxRecords = 10, 35
	list, err := New(w, w, cfg).List(t.Context(), model.RecordQuery{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(list.Records), 10+40; got != want {
		t.Errorf("%d records, want %d", got, want)
	}
	if got, want := failures(list), "never-ends=truncated/cluster_failed"; got != want {
		t.Errorf("failed %q, want %q", got, want)
	}
}

func TestListNamesWhoDidNotAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		var asked atomic.Int64
		w.add("broken", failing(&crm.CallError{Class: crm.ClassTerminal, Status: 400, Reason: "bad request"}))
		w.add("cannot", failing(&crm.CallError{Class: crm.ClassNotSupported, NotSent: true, Reason: "no list"}))
		w.add("good", holding("x", 2))
		w.add("hung", hung(&asked))
		w.add("no-client", nil)
		w.add("open", hung(&asked))
		w.views[len(w.views)-1].Health.Circuit = model.CircuitOpen
		w.add("refused", failing(&crm.CallError{Class: crm.ClassRetryable, NotSent: true, Reason: "cannot connect"}))
		began := time.Now()
		list, err := New(w, w, DefaultConfig()).List(t.Context(), model.RecordQuery{})
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != DefaultConfig().Timeout {
			t.Errorf("took %s, want the deadline of one cluster", took)
		}
		want := "broken=terminal/cluster_failed cannot=not_supported/cluster_failed hung=timeout/cluster_timeout " +
			"no-client=no_client/cluster_unavailable open=circuit_open/cluster_unavailable refused=retryable/cluster_unavailable"
		if diff := cmp.Diff(want, failures(list)); diff != "" || len(list.Records) != 2 || asked.Load() != 1 {
			t.Errorf("%d records, %d hung calls, failed (-want +got):\n%s", len(list.Records), asked.Load(), diff)
		}
	})
}

// However many clusters hang, and however many ask, the calls in flight are
// bounded per question and per cluster, and everybody gets an answer.
func TestQuestionsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		var flying, most atomic.Int64
		slow := func(ctx context.Context, _ crm.RecordFilter) ([]model.DeploymentRecord, error) {
			now := flying.Add(1)
			for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
			}
			defer flying.Add(-1)
			select {
			case <-time.After(time.Second):
				return nil, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		for i := range 8 {
			w.add(fmt.Sprintf("c%d", i), &scripted{records: slow})
		}
		cfg := DefaultConfig()
		cfg.Parallel, cfg.PerCluster, cfg.MaxLists = 4, 2, 3
		r := New(w, w, cfg)
		results := make(chan error, 10)
		for range cap(results) {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				_, err := r.List(ctx, model.RecordQuery{})
				results <- err
			}()
		}
		for range cap(results) {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if got := most.Load(); got > 12 || got < 4 {
			t.Errorf("%d calls at once, want at most 3 questions of 4", got)
		}
		if len(r.slots.byCluster) != 0 {
			t.Errorf("%d slots are left", len(r.slots.byCluster))
		}
	})
}

// Who cannot even begin to ask is told so when its time is up.
func TestListWaitsForItsTurnNoLongerThanItMay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		var asked atomic.Int64
		w.add("hung", hung(&asked))
		cfg := DefaultConfig()
		cfg.MaxLists, cfg.Timeout = 1, time.Minute
		r := New(w, w, cfg)
		first := make(chan struct{})
		go func() {
			defer close(first)
			_, _ = r.List(t.Context(), model.RecordQuery{})
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.List(ctx, model.RecordQuery{}); model.CodeOf(err) != model.CodeUnavailable {
			t.Errorf("got %v, want unavailable", err)
		}
		<-first
	})
}

func TestGet(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	down := &crm.CallError{Cluster: "down", Class: crm.ClassRetryable, NotSent: true, Reason: "cannot connect"}
	for _, test := range []struct {
		name, id, cluster string
		build             func(w *world)
		want              string
		code              model.Code
	}{
		{"where it is recorded", "u-1", "", func(w *world) {
			w.add("a", failing(errors.New("must not be asked")))
			w.add("b", holding("x", 1))
			w.units["u-1"] = []inventory.UnitRef{{Cluster: "b", Unit: "u-1", CRMID: "x-0000"}}
		}, "b/x-0000", ""},
		{"where it is recorded, not confirmed yet", "x-0000", "", func(w *world) {
			w.add("b", holding("x", 1))
			w.units["x-0000"] = []inventory.UnitRef{{Cluster: "b", Unit: "x-0000"}}
		}, "b/x-0000", ""},
		{"anywhere", "y-0001", "", func(w *world) { w.add("a", holding("x", 2)); w.add("b", holding("y", 2)) }, "b/y-0001", ""},
		{"anywhere, though another is down", "y-0001", "", func(w *world) { w.add("a", failing(down)); w.add("b", holding("y", 2)) }, "b/y-0001", ""},
		{"in a cluster that is named", "y-0001", "b", func(w *world) { w.add("a", failing(down)); w.add("b", holding("y", 2)) }, "b/y-0001", ""},
		{"in a cluster that does not have it", "y-0001", "a", func(w *world) { w.add("a", holding("x", 1)); w.add("b", holding("y", 2)) }, "", model.CodeNotFound},
		{"in a cluster that does not exist", "y-0001", "c", func(w *world) { w.add("b", holding("y", 2)) }, "", model.CodeInvalid},
		{"nowhere", "none", "", func(w *world) { w.add("a", holding("x", 1)); w.add("b", holding("y", 1)) }, "", model.CodeNotFound},
		{"nowhere that answers", "none", "", func(w *world) { w.add("a", failing(down)); w.add("b", holding("y", 1)) }, "", model.CodeClusterUnavailable},
		{"nowhere that is asked", "none", "", func(w *world) {
			w.add("a", hung(&asked))
			w.views[0].Health.Circuit = model.CircuitOpen
			w.add("b", holding("y", 1))
		}, "", model.CodeClusterUnavailable},
		{"without clusters", "none", "", func(*world) {}, "", model.CodeClusterUnavailable},
		{"recorded twice in one cluster", "x-0000", "", func(w *world) {
			w.add("b", holding("x", 1))
			w.units["x-0000"] = []inventory.UnitRef{{Cluster: "b", Unit: "x-0000"}, {Cluster: "b", Unit: "u-9", CRMID: "x-0000"}}
		}, "b/x-0000", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			test.build(w)
			r := New(w, w, DefaultConfig())
			record, err := r.Get(t.Context(), test.id, test.cluster)
			if got := model.CodeOf(err); got != test.code {
				t.Fatalf("code %q, want %q: %v", got, test.code, err)
			}
			if err == nil {
				if got := *record.ClusterName + "/" + record.ID; got != test.want {
					t.Errorf("found %s, want %s", got, test.want)
				}
			}
			if status, statusErr := r.Status(t.Context(), test.id, test.cluster); model.CodeOf(statusErr) != test.code || status.ID != record.ID {
				t.Errorf("status: %+v %v", status, statusErr)
			}
		})
	}
}

// The first cluster that knows a unit ends the search: the others are not waited
// for.
func TestGetDoesNotWaitForHungClusters(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		var asked atomic.Int64
		for i := range 40 {
			w.add(fmt.Sprintf("a%02d", i), hung(&asked))
		}
		w.add("b", holding("y", 1))
		cfg := DefaultConfig()
		cfg.Parallel = 64
		began := time.Now()
		if _, err := New(w, w, cfg).Get(t.Context(), "y-0000", ""); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("took %s", took)
		}
	})
}

func TestSelects(t *testing.T) {
	t.Parallel()
	record := normal(model.DeploymentRecord{ID: "u", PackageName: "shop", ClassKey: "shop.Cart", TargetEnvironment: "ns",
		Status: model.DeploymentRecordStatus{Condition: "Running", Phase: "RUNNING"}}, "edge-1")
	short := record
	short.ClassKey = "Cart"
	for _, test := range []struct {
		name string
		q    model.RecordQuery
		want bool
	}{
		{"everything", model.RecordQuery{}, true},
		{"package", model.RecordQuery{Package: "shop"}, true},
		{"another package", model.RecordQuery{Package: "toys"}, false},
		{"class", model.RecordQuery{Class: "Cart"}, true},
		{"qualified class", model.RecordQuery{Class: "shop.Cart"}, true},
		{"class of another package", model.RecordQuery{Class: "toys.Cart"}, false},
		{"environment as the CRM calls it", model.RecordQuery{Environment: "ns"}, true},
		{"environment as the control plane calls it", model.RecordQuery{Environment: "edge-1"}, true},
		{"environment that the cluster carries", model.RecordQuery{Environment: "production"}, true},
		{"another environment", model.RecordQuery{Environment: "edge-2"}, false},
		{"condition", model.RecordQuery{Status: "running"}, true},
		{"another condition", model.RecordQuery{Status: "Down"}, false},
	} {
		for _, r := range []model.DeploymentRecord{record, short} {
			if got := selects(test.q, r, []string{"edge", "production"}); got != test.want {
				t.Errorf("%s, class %s: got %v, want %v", test.name, r.ClassKey, got, test.want)
			}
		}
	}
}

// A failure of the default cluster names it: who asked did not.
func TestFailureNamesTheDefaultCluster(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ asked, want string }{{"", "edge-1"}, {"edge-2", "edge-2"}} {
		if got := Failure(test.asked, &crm.CallError{Cluster: "edge-1", Class: crm.ClassRetryable, Status: 500}).Cluster; got != test.want {
			t.Errorf("asked for %q: failure of %q, want %q", test.asked, got, test.want)
		}
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("default: %v", err)
	}
	err := Config{}.Validate()
	for _, name := range []string{"timeout", "parallel", "per_cluster", "max_lists", "page_size", "max_records"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named in %v", name, err)
		}
	}
}

// prober is what a monitor adds.
type prober struct{ err error }

func (p prober) View(_ string, recorded model.ClusterHealth, lastContact time.Duration) model.ClusterHealth {
	recorded.Message = lastContact.String()
	return recorded
}

func (p prober) Refresh(_ context.Context, cluster string) (model.ClusterHealth, error) {
	return model.ClusterHealth{ClusterName: cluster}, p.err
}

func (w *world) Infos() []model.ClusterInfo {
	infos := make([]model.ClusterInfo, len(w.views))
	for i := range w.views {
		infos[i] = w.views[i].Info()
	}
	return infos
}

func (w *world) WaitFor(context.Context, uint64) error { return nil }

func TestClusters(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.add("a", nil)
	w.add("b", nil)
	c := NewClusters(w, prober{}, func() time.Duration { return time.Minute })
	if infos := c.Clusters(); len(infos) != 2 || infos[1].Name != "b" || infos[1].Health.Message != "1m0s" {
		t.Errorf("clusters: %+v", infos)
	}
	if info, ok := c.Cluster("b"); !ok || info.Name != "b" || info.Health.Message != "1m0s" {
		t.Errorf("cluster: %+v %v", info, ok)
	}
	for _, name := range []string{"", "0", "ab", "z"} {
		if _, ok := c.Cluster(name); ok {
			t.Errorf("cluster %q exists", name)
		}
	}
	if spec, ok := c.Spec("a"); !ok || spec.Name != "a" {
		t.Errorf("spec: %+v %v", spec, ok)
	}
	for _, test := range []struct {
		err  error
		code model.Code
	}{
		{nil, ""},
		{model.Errorf(model.CodeNotFound, "gone"), model.CodeNotFound},
		{&model.Error{Code: model.CodeUnavailable, Err: context.DeadlineExceeded}, model.CodeClusterTimeout},
		{&crm.CallError{Class: crm.ClassTerminal, Status: 500, Reason: "boom"}, model.CodeClusterFailed},
		// gRPC has an error of its own for the end of a deadline.
		{&crm.CallError{Class: crm.ClassRetryable, Reason: "no answer in time", Err: errors.New("rpc error: code = DeadlineExceeded")}, model.CodeClusterTimeout},
	} {
		_, err := NewClusters(w, prober{test.err}, func() time.Duration { return 0 }).Refresh(t.Context(), "a")
		if got := model.CodeOf(err); got != test.code {
			t.Errorf("refresh with %v: code %q, want %q", test.err, got, test.code)
		}
	}
}
