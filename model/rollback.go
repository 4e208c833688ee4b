package model

// Rollback asks for an earlier revision of a deployment.
type Rollback struct {
	// Revision to return to; 0 is the newest one that ran everywhere and differs
	// from the present one.
	Revision uint64 `json:"revision"`
}

// DecodeRollback is DecodePackage for a rollback.
func DecodeRollback(data []byte, f Format) (Rollback, []string, error) {
	var r Rollback
	unknown, err := decodeDocument(data, f, &r, func() problems { return problems{} })
	if err != nil {
		return Rollback{}, unknown, err
	}
	return r, unknown, nil
}
