package storage_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

func TestListClusters(t *testing.T) {
	t.Parallel()
	r := newPairs(map[string]string{
		string(storage.ClusterKey("b")):        document("", `"name":"b","base_url":"http://b"`),
		string(storage.ClusterKey("a")):        document("", `"name":"a","base_url":"https://a","protocol":"grpc","weight":0,"managed_by":"config"`),
		string(storage.ClusterHealthKey("b")):  `{"cluster_name":"b","status":"Healthy"}`,
		string(storage.ClusterHealthKey("ba")): `{"cluster_name":"ba","status":"Unknown"}`,
	})
	got := collect(t, 9, func(v storage.Visit) error { return storage.ListClusters(r, storage.After("a"), v) })
	if diff := cmp.Diff([]string{"b"}, got); diff != "" {
		t.Errorf("names after a (-want +got):\n%s", diff)
	}
	clusters, err := storage.DecodeClusters(r)
	if err != nil || len(clusters) != 2 {
		t.Fatalf("decode: got %+v, %v, want two", clusters, err)
	}
	if c := clusters[0]; c.Name != "a" || c.Protocol != model.ProtocolGRPC || c.Weight == nil || *c.Weight != 0 || c.ManagedBy != model.ManagedByConfig || c.ResourceVersion != 1 {
		t.Errorf("first: got %+v, want a as it is stored", c)
	}
	if c := clusters[1]; c.Name != "b" || c.Protocol != model.ProtocolHTTP {
		t.Errorf("second: got %+v, want b with the default protocol", c)
	}
	health := collect(t, 9, func(v storage.Visit) error { return storage.ListClusterHealth(r, "", v) })
	if diff := cmp.Diff([]string{"b", "ba"}, health); diff != "" {
		t.Errorf("names with health (-want +got):\n%s", diff)
	}
	for name, want := range map[string]string{"a": "", "b": model.ClusterHealthy} {
		if got, found, err := storage.DecodeClusterHealth(r, name); got.Status != want || found != (want != "") || err != nil {
			t.Errorf("health of %s: got %+v, %t, %v, want status %q", name, got, found, err, want)
		}
	}
	none, err := storage.DecodeClusters(newPairs(nil))
	if err != nil || none == nil || len(none) != 0 {
		t.Errorf("no clusters: got %v, %v, want an empty list", none, err)
	}
}

func TestUnitsOnCluster(t *testing.T) {
	t.Parallel()
	r := newPairs(map[string]string{
		string(storage.ByCluster.Key("e", "d2/u1")):  "\x01",
		string(storage.ByCluster.Key("e", "d1/u2")):  "\x01",
		string(storage.ByCluster.Key("e", "d1/u1")):  "\x01",
		string(storage.ByCluster.Key("e1", "d1/u9")): "\x01",
	})
	var got []string
	visit := func(deployment, unit string) (bool, error) {
		got = append(got, deployment+" "+unit)
		return len(got) < 2, nil
	}
	if err := storage.UnitsOnCluster(r, "e", visit); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"d1 u1", "d1 u2"}, got); diff != "" {
		t.Errorf("units (-want +got):\n%s", diff)
	}
	for cluster, want := range map[string]int{"e": 3, "e1": 1, "x": 0} {
		if got, err := storage.CountUnitsOnCluster(r, cluster); got != want || err != nil {
			t.Errorf("count on %s: got %d, %v, want %d", cluster, got, err, want)
		}
	}
}

// eventWorld holds the events 3 to 10: the first two made room.
func eventWorld() *pairs {
	values := map[string]string{string(storage.EventSequenceKey): "10"}
	for sequence := uint64(3); sequence <= 10; sequence++ {
		kind, name, eventType := "deployment", "d1", model.EventNormal
		if sequence%2 == 0 {
			kind, name = "cluster", "east"
		}
		if sequence%3 == 0 {
			eventType = model.EventWarning
		}
		at := time.Unix(int64(sequence), 0).UTC().Format(time.RFC3339)
		values[string(storage.StoredEventKey(sequence))] = fmt.Sprintf(
			`{"sequence":%d,"at":%q,"type":%q,"kind":%q,"name":%q,"reason":"R%d"}`, sequence, at, eventType, kind, name, sequence%4)
		values[string(storage.ByEventSubject.Key(kind+"/"+name, fmt.Sprintf("%020d", sequence)))] = "\x01"
	}
	return newPairs(values)
}

func TestListEvents(t *testing.T) {
	t.Parallel()
	d1 := storage.EventQuery{Kind: "deployment", Name: "d1"}
	with := func(q storage.EventQuery, change func(q *storage.EventQuery)) storage.EventQuery {
		change(&q)
		return q
	}
	newestFirst := func(q *storage.EventQuery) { q.NewestFirst = true }
	tests := []struct {
		name  string
		query storage.EventQuery
		want  []uint64
	}{
		{"all", storage.EventQuery{}, []uint64{3, 4, 5, 6, 7, 8, 9, 10}},
		{"all_newest_first", with(storage.EventQuery{}, newestFirst), []uint64{10, 9, 8, 7, 6, 5, 4, 3}},
		{"limit", storage.EventQuery{Limit: 2}, []uint64{3, 4}},
		{"limit_newest_first", storage.EventQuery{Limit: 2, NewestFirst: true}, []uint64{10, 9}},
		{"after", storage.EventQuery{After: 8}, []uint64{9, 10}},
		{"after_newest_first", storage.EventQuery{After: 8, NewestFirst: true}, []uint64{10, 9}},
		{"after_the_newest", storage.EventQuery{After: 10}, []uint64{}},
		{"before", storage.EventQuery{Before: 5}, []uint64{3, 4}},
		{"before_newest_first", storage.EventQuery{Before: 5, NewestFirst: true}, []uint64{4, 3}},
		{"before_one", storage.EventQuery{Before: 1, NewestFirst: true}, []uint64{}},
		{"before_what_is_to_come", storage.EventQuery{Before: 99, Limit: 1, NewestFirst: true}, []uint64{10}},
		{"subject", d1, []uint64{3, 5, 7, 9}},
		{"subject_newest_first", with(d1, newestFirst), []uint64{9, 7, 5, 3}},
		{"subject_page", with(d1, func(q *storage.EventQuery) { q.After, q.Before, q.NewestFirst = 3, 9, true }), []uint64{7, 5}},
		{"subject_limit_counts_matches", with(d1, func(q *storage.EventQuery) { q.Type, q.Limit = model.EventWarning, 2 }), []uint64{3, 9}},
		{"unknown_subject", storage.EventQuery{Kind: "deployment", Name: "d"}, []uint64{}},
		{"kind", storage.EventQuery{Kind: "cluster"}, []uint64{4, 6, 8, 10}},
		{"name", storage.EventQuery{Name: "east", NewestFirst: true, Limit: 3}, []uint64{10, 8, 6}},
		{"type", storage.EventQuery{Type: model.EventWarning}, []uint64{3, 6, 9}},
		{"reason", storage.EventQuery{Reason: "R1"}, []uint64{5, 9}},
		{"since", storage.EventQuery{Since: time.Unix(8, 0)}, []uint64{8, 9, 10}},
		{"everything", storage.EventQuery{
			Kind: "cluster", Name: "east", Type: model.EventNormal, Reason: "R0", After: 3, Before: 10, Since: time.Unix(4, 0), NewestFirst: true, Limit: 5,
		}, []uint64{8, 4}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			events, err := storage.DecodeEvents(eventWorld(), tt.query)
			if err != nil {
				t.Fatal(err)
			}
			got := []uint64{}
			for _, event := range events {
				got = append(got, event.Sequence)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("sequences (-want +got):\n%s", diff)
			}
		})
	}
	if newest, err := storage.NewestEvent(newPairs(nil)); newest != 0 || err != nil {
		t.Errorf("newest of nothing: got %d, %v, want 0", newest, err)
	}
	if events, err := storage.DecodeEvents(newPairs(nil), storage.EventQuery{NewestFirst: true}); len(events) != 0 || err != nil {
		t.Errorf("events of nothing: got %v, %v, want none", events, err)
	}
}

// TestNewestEventsCostWhatTheyReturn: a page at the end does not read the ring.
func TestNewestEventsCostWhatTheyReturn(t *testing.T) {
	t.Parallel()
	r := eventWorld()
	if _, err := storage.DecodeEvents(r, storage.EventQuery{NewestFirst: true, Limit: 2}); err != nil || r.visits.Load() > 4 {
		t.Errorf("visited %d pairs, %v, want no more than 4", r.visits.Load(), err)
	}
}

func TestListRevisions(t *testing.T) {
	t.Parallel()
	values := map[string]string{string(storage.RevisionKey("d2", 1)): `{"revision":1}`}
	for _, number := range []uint64{9, 10, 100} {
		values[string(storage.RevisionKey("d", number))] = fmt.Sprintf(`{"revision":%d,"deployment":{"key":"d"}}`, number)
	}
	r := newPairs(values)
	revisions, err := storage.DecodeRevisions(r, "d")
	if err != nil {
		t.Fatal(err)
	}
	var got []uint64
	for _, revision := range revisions {
		got = append(got, revision.Revision)
	}
	if diff := cmp.Diff([]uint64{9, 10, 100}, got); diff != "" {
		t.Errorf("numbers (-want +got):\n%s", diff)
	}
	one, found, err := storage.DecodeRevision(r, "d", 10)
	if err != nil || !found || one.Revision != 10 || one.Deployment.Key != "d" {
		t.Errorf("revision 10: got %+v, %t, %v", one, found, err)
	}
	if _, found, err := storage.DecodeRevision(r, "d", 11); found || err != nil {
		t.Errorf("revision 11: found %t, %v, want none", found, err)
	}
}

func TestOrchestrationListFailures(t *testing.T) {
	t.Parallel()
	broken := errors.New("disk on fire")
	onFire := &pairs{fail: broken}
	corrupt := newPairs(map[string]string{
		string(storage.ClusterKey("c")):                          "not json",
		string(storage.ClusterHealthKey("c")):                    "not json",
		string(storage.RevisionKey("d", 1)):                      "not json",
		storage.RevisionPrefix + "odd/key":                       "{}",
		string(storage.StoredEventKey(1)):                        "not json",
		string(storage.ByEventSubject.Key("k/dangling", "0009")): "\x01",
		string(storage.ByEventSubject.Key("k/odd", "nine")):      "\x01",
		string(storage.ByCluster.Key("c", "no unit")):            "\x01",
	})
	odd := newPairs(map[string]string{string(storage.EventSequenceKey): "many", storage.StoredEventPrefix + "odd": "{}"})
	events := func(q storage.EventQuery) func(storage.Reader) error {
		return func(r storage.Reader) error { _, err := storage.DecodeEvents(r, q); return err }
	}
	clusters := func(r storage.Reader) error { _, err := storage.DecodeClusters(r); return err }
	health := func(r storage.Reader) error { _, _, err := storage.DecodeClusterHealth(r, "c"); return err }
	revision := func(r storage.Reader) error { _, _, err := storage.DecodeRevision(r, "d", 1); return err }
	revisions := func(deployment string) func(storage.Reader) error {
		return func(r storage.Reader) error { _, err := storage.DecodeRevisions(r, deployment); return err }
	}
	tests := []struct {
		name string
		r    storage.Reader
		list func(storage.Reader) error
		want error
	}{
		{"clusters", onFire, clusters, broken},
		{"health", onFire, health, broken},
		{"revision", onFire, revision, broken},
		{"events", onFire, events(storage.EventQuery{}), broken},
		{"events_newest_first", onFire, events(storage.EventQuery{NewestFirst: true}), broken},
		{"events_of_a_subject", onFire, events(storage.EventQuery{Kind: "k", Name: "n"}), broken},
		{"corrupt_cluster", corrupt, clusters, nil},
		{"corrupt_health", corrupt, health, nil},
		{"corrupt_revision", corrupt, revision, nil},
		{"corrupt_revisions", corrupt, revisions("d"), nil},
		{"odd_revision_key", corrupt, revisions("odd"), nil},
		{"corrupt_event", corrupt, events(storage.EventQuery{}), nil},
		{"dangling_event", corrupt, events(storage.EventQuery{Kind: "k", Name: "dangling"}), nil},
		{"odd_event_in_the_index", corrupt, events(storage.EventQuery{Kind: "k", Name: "odd"}), nil},
		{"odd_sequence", odd, events(storage.EventQuery{NewestFirst: true}), nil},
		{"odd_event_key", odd, events(storage.EventQuery{}), nil},
		{"odd_unit_in_the_index", corrupt, func(r storage.Reader) error {
			return storage.UnitsOnCluster(r, "c", func(string, string) (bool, error) { return true, nil })
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := tt.list(tt.r); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}
