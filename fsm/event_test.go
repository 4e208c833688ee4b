package fsm

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
	"github.com/oprc/oprc-pm/storage/bolt"
)

func TestRecordEvents(t *testing.T) {
	t.Parallel()
	withEvents := func(c storage.RecordUnitStatus, events ...model.Event) storage.RecordUnitStatus {
		c.Events = events
		return c
	}
	u1 := []storage.UnitRef{{Cluster: "east", Unit: "u1"}}
	runMachineTests(t, []machineTest{
		{name: "ok_event", command: storage.RecordEvents{Events: []model.Event{about("busy")}}, want: storage.Updated},
		{name: "ok_about_nobody", command: storage.RecordEvents{Events: []model.Event{about("nobody")}}, want: storage.Updated},
		{name: "ok_nothing", command: storage.RecordEvents{}, want: storage.Unchanged},
		{name: "ok_beside_units", command: withEvents(recordPut("busy", 1), about("busy"), about("busy")), want: storage.Updated, generation: 1},
		{name: "ok_beside_forget", given: []storage.Command{storage.DeleteDeployment{Key: "busy"}}, command: withEvents(
			storage.RecordUnitStatus{Deployment: "busy", Generation: 2, Remove: u1, Forget: true}, about("busy")), want: storage.Deleted},
		{name: "err_rejected_with_its_command", command: withEvents(recordPut("busy", 7), about("busy")), code: model.CodeConflict},
	})
}

// TestEventRing: the newest are kept, with sequences that have no gap.
func TestEventRing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const rounds, perRound = 30, 3
	for i := range rounds {
		var events []model.Event
		for j := range perRound {
			event := about(fmt.Sprintf("d%d", j))
			event.Message = fmt.Sprint(i)
			event.Sequence = 77 // It is the store's to give.
			events = append(events, event)
		}
		w.must(storage.RecordEvents{Events: events})
	}
	w.view(func(r storage.Reader) error {
		newest, err := storage.NewestEvent(r)
		if err != nil || newest != rounds*perRound {
			t.Errorf("newest sequence: got %d, %v, want %d", newest, err, rounds*perRound)
		}
		events, err := storage.DecodeEvents(r, storage.EventQuery{})
		if err != nil || len(events) != keptEvents {
			t.Fatalf("events: got %d, %v, want %d", len(events), err, keptEvents)
		}
		for i, event := range events {
			sequence := uint64(rounds*perRound - keptEvents + 1 + i)
			want := about(fmt.Sprintf("d%d", (sequence-1)%perRound))
			want.Sequence, want.Message = sequence, fmt.Sprint((sequence-1)/perRound)
			if diff := cmp.Diff(want, event); diff != "" {
				t.Errorf("event %d (-want +got):\n%s", i, diff)
			}
		}
		return compareIndexes(t, r)
	})
}

// TestEventsReachWatchers: what is kept is announced, and so is what makes room.
func TestEventsReachWatchers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.machine.maxEvents = 1
	var got []string
	for range 2 {
		_, changes := w.run(storage.Proposal{Request: storage.Request{Command: storage.RecordEvents{Events: []model.Event{about("d")}}}, At: noon})
		for _, c := range changes {
			got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", c.Type, c.Kind, c.Key, c.Document)))
		}
	}
	const text = `"at":"2026-03-14T12:00:00.987654321Z","type":"Normal","kind":"deployment","name":"d","reason":"Placed"}`
	want := []string{
		`put event 00000000000000000001 {"sequence":1,` + text,
		`put event 00000000000000000002 {"sequence":2,` + text,
		`delete event 00000000000000000001`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// TestEventsOutliveTheirSubject: a deleted deployment can still be explained.
func TestEventsOutliveTheirSubject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(namedPackage(t, "app"), deployCommand(t, "d", "app"))
	record := recordPut("d", 1)
	record.Events = []model.Event{about("d")}
	w.must(record, storage.DeleteDeployment{Key: "d"})
	w.view(func(r storage.Reader) error {
		events, err := storage.DecodeEvents(r, storage.EventQuery{Kind: model.EventAboutDeployment, Name: "d"})
		if len(events) != 1 {
			t.Errorf("events of a deleted deployment: got %+v, want one", events)
		}
		return err
	})
}

// TestEventCostsTheSameInAFullRing counts what one event reads and writes.
func TestEventCostsTheSameInAFullRing(t *testing.T) {
	t.Parallel()
	cost := func(maxEvents uint64) int {
		w := newWorld(t)
		w.machine.maxEvents = maxEvents
		for range 2 * maxEvents {
			w.must(storage.RecordEvents{Events: []model.Event{about("d")}})
		}
		counting := &countingTx{}
		if err := w.db.Update(func(tx storage.Tx, _ *bolt.Meta) error {
			counting.Tx = tx
			_, _, err := w.machine.Apply(counting, w.index+1, 1, []storage.Proposal{
				{Request: storage.Request{Command: storage.RecordEvents{Events: []model.Event{about("d")}}}, At: noon},
			})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return counting.calls
	}
	if few, many := cost(5), cost(200); few != many || few > 10 {
		t.Errorf("operations for an event: got %d with 5 kept and %d with 200, want the same few", few, many)
	}
}

// countingTx counts operations; a scan counts what it visits.
type countingTx struct {
	storage.Tx
	calls int
}

func (c *countingTx) Get(key []byte) ([]byte, error) {
	c.calls++
	return c.Tx.Get(key)
}

func (c *countingTx) Put(key, value []byte) error {
	c.calls++
	return c.Tx.Put(key, value)
}

func (c *countingTx) Delete(key []byte) error {
	c.calls++
	return c.Tx.Delete(key)
}

func (c *countingTx) Scan(start, end []byte, fn func(key, value []byte) (bool, error)) error {
	return c.Tx.Scan(start, end, func(key, value []byte) (bool, error) {
		c.calls++
		return fn(key, value)
	})
}

// TestDamagedEventIsAFault: an event that cannot be read is not passed over.
func TestDamagedEventIsAFault(t *testing.T) {
	t.Parallel()
	for _, document := range []string{"garbage", `{"kind":7}`, `{"kind":"a","name":7}`} {
		w := newWorld(t)
		w.machine.maxEvents = 1
		w.must(storage.RecordEvents{Events: []model.Event{about("d")}})
		err := w.db.Update(func(tx storage.Tx, _ *bolt.Meta) error {
			if err := tx.Put(storage.StoredEventKey(1), []byte(document)); err != nil {
				return err
			}
			_, _, err := w.machine.Apply(tx, w.index+1, 1, []storage.Proposal{
				{Request: storage.Request{Command: storage.RecordEvents{Events: []model.Event{about("d")}}}},
			})
			return err
		})
		if err == nil || !strings.Contains(err.Error(), "read event 1") {
			t.Errorf("drop %s: got error %v, want a fault that names event 1", document, err)
		}
	}
}
