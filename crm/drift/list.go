package drift

import (
	"context"
	"fmt"

	"github.com/oprc/oprc-pm/crm"
	"github.com/oprc/oprc-pm/crm/inventory"
	"github.com/oprc/oprc-pm/model"
)

// list reads all records of a cluster, page by page. units are those recorded
// there, which a complete list would hold.
//
// A page that is shorter than what was asked for is the last one, except that a
// CRM may cap pages below that; so when a unit has not been seen yet, the next
// page is asked for until one brings nothing new. That also ends the list of a
// CRM that ignores the offset.
func (l *lookout) list(ctx context.Context, client crm.Client, units []inventory.UnitRef) ([]model.DeploymentRecord, error) {
	var records []model.DeploymentRecord
	seen := map[string]bool{}
	for offset := 0; ; {
		page, err := client.Records(ctx, crm.Origin{Term: l.fence}, crm.RecordFilter{Limit: l.cfg.PageSize, Offset: offset})
		if err != nil {
			return nil, err
		}
		offset += len(page)
		added := 0
		for _, record := range page {
			if id := crmID(record); !seen[id] {
				seen[id] = true
				records = append(records, record)
				added++
			}
		}
		switch {
		case added == 0, len(page) != l.cfg.PageSize && complete(units, records):
			return records, nil
		case len(records) > l.cfg.MaxRecords:
			return nil, fmt.Errorf("list records: more than %d", l.cfg.MaxRecords)
		}
	}
}

// complete tells whether all accepted units are among the records.
func complete(units []inventory.UnitRef, records []model.DeploymentRecord) bool {
	return len(compare(units, units, records).missing) == 0
}
