package drift

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/model"
)

// lister is a CRM of which only the list matters; the simulated one lists too
// well.
type lister struct {
	crm.Client
	ids   []string
	page  func(ids []string, limit, offset int) []string
	calls int
}

func (l *lister) Records(_ context.Context, _ crm.Origin, filter crm.RecordFilter) ([]model.DeploymentRecord, error) {
	l.calls++
	if l.calls > 100 {
		return nil, errors.New("the list has no end")
	}
	var records []model.DeploymentRecord
	for _, id := range l.page(l.ids, filter.Limit, filter.Offset) {
		records = append(records, held(id, id, "Running"))
	}
	return records, nil
}

func pageOf(ids []string, limit, offset int) []string {
	ids = ids[min(offset, len(ids)):]
	return ids[:min(limit, len(ids))]
}

func TestListPages(t *testing.T) {
	t.Parallel()
	five := []string{unit(0), unit(1), unit(2), unit(3), unit(4)}
	tests := []struct {
		name     string
		page     func(ids []string, limit, offset int) []string
		recorded []string
		calls    int
	}{
		{name: "in pages", page: pageOf, recorded: five, calls: 3},
		{name: "a CRM that heeds neither limit nor offset", page: func(ids []string, _, _ int) []string { return ids }, recorded: five, calls: 1},
		{name: "a CRM that heeds no offset, with a unit missing", page: func(ids []string, _, _ int) []string { return ids }, recorded: []string{unit(5)}, calls: 2},
		{
			name: "a CRM that caps pages below what was asked for", recorded: five, calls: 5,
			page: func(ids []string, _, offset int) []string { return pageOf(ids, 1, offset) },
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := DefaultConfig()
			cfg.PageSize = 2
			l := &lookout{Controller: &Controller{cfg: cfg}}
			client := &lister{ids: five, page: tt.page}
			var units []inventory.UnitRef
			for _, id := range tt.recorded {
				units = append(units, ref(id, id, model.UnitRunning))
			}
			records, err := l.list(t.Context(), client, units)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, record := range records {
				got = append(got, record.ID)
			}
			slices.Sort(got)
			if diff := cmp.Diff(got, five); diff != "" {
				t.Errorf("records: got -, want +\n%s", diff)
			}
			if client.calls != tt.calls {
				t.Errorf("calls: got %d, want %d", client.calls, tt.calls)
			}
		})
	}
}

func TestListIsBounded(t *testing.T) {
	t.Parallel()
	cfg := DefaultConfig()
	cfg.PageSize, cfg.MaxRecords = 2, 6
	n := 0
	client := &lister{page: func([]string, int, int) []string { n += 2; return []string{unit(n - 2), unit(n - 1)} }}
	if _, err := (&lookout{Controller: &Controller{cfg: cfg}}).list(t.Context(), client, nil); err == nil {
		t.Error("a list without end was taken for complete")
	}
	if client.calls > 4 {
		t.Errorf("got %d calls, want no more than it takes", client.calls)
	}
}
