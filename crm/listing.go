package crm

import "github.com/oprc/oprc-pm/model"

// recordPage is how many records are asked for at once where all are wanted.
const recordPage = 500

// maxRecords bounds a list of all records: a CRM that always has another page
// must not fill the memory.
const maxRecords = 200_000

// listRecords asks for the records of a filter, page by page where the filter
// sets no limit. Offsets shift when units come and go meanwhile: an id may come
// twice, which is mended here, or be missed, which callers must expect.
func listRecords(filter RecordFilter, ask func(RecordFilter) ([]model.DeploymentRecord, error)) ([]model.DeploymentRecord, error) {
	records := []model.DeploymentRecord{}
	known := map[string]bool{}
	page := filter
	if filter.Limit <= 0 {
		page.Limit = recordPage
	}
	for {
		got, err := ask(page)
		if err != nil {
			return nil, err
		}
		before := len(records)
		for i := range got {
			if id := got[i].ID; usableID(id) && !known[id] {
				known[id] = true
				records = append(records, got[i])
			}
		}
		// A short page is no end: the CRM's own limit may be smaller. One that
		// heeds no limit gave everything, one that heeds no offset gives the
		// same again.
		more := len(records) > before && len(got) <= page.Limit
		if filter.Limit > 0 || !more || len(records) >= maxRecords {
			return records, nil
		}
		page.Offset += len(got)
	}
}
