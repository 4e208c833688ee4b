package crm

import "github.com/oprc/oprc-pm/model"

// recordPage is how many records are asked for at once where all are wanted.
const recordPage = 500

// maxRecords bounds a list of all records: a CRM that always has another page
// must not fill the memory.
const maxRecords = 200_000

// listRecords asks for the records of a filter. With a limit that is one page, as
// the CRM gives it. Without one it goes on page by page and keeps each id once.
// Offsets shift when units come and go meanwhile: a record may be missed, which
// callers must expect. It ends when it has most.
func listRecords(filter RecordFilter, most int, ask func(RecordFilter) ([]model.DeploymentRecord, error)) ([]model.DeploymentRecord, error) {
	if filter.Limit > 0 {
		page, err := ask(filter)
		return append([]model.DeploymentRecord{}, page...), err
	}
	records := []model.DeploymentRecord{}
	known := map[string]bool{}
	filter.Limit = recordPage
	for {
		page, err := ask(filter)
		if err != nil {
			return nil, err
		}
		before := len(records)
		for i := range page {
			if id := page[i].ID; usableID(id) && !known[id] {
				known[id] = true
				records = append(records, page[i])
			}
		}
		// A short page is no end: the CRM's own limit may be smaller. One that
		// heeds no limit gave everything, one that heeds no offset gives the
		// same again.
		if len(records) == before || len(page) > filter.Limit || len(records) >= most {
			return records, nil
		}
		filter.Offset += len(page)
	}
}
