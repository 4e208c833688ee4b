package model

import (
	"fmt"
	"strings"
)

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

// MarkReturn notes in a document which revision's content a rollback has put
// there; 0 takes the note away. It leaves no empty rollout behind.
func (d *Deployment) MarkReturn(revision uint64) {
	var rollout Rollout
	if d.Rollout != nil {
		rollout = *d.Rollout
	}
	if rollout.ReturnTo == revision {
		return
	}
	rollout.ReturnTo = revision
	d.Rollout = &rollout
	if rollout == (Rollout{}) {
		d.Rollout = nil
	}
}

const returnCause = "return to revision "

// ReturnCause is the Cause of a revision that a rollback made.
func ReturnCause(revision uint64) string { return fmt.Sprintf("%s%d", returnCause, revision) }

// IsReturn reports whether a rollback made the revision, whoever asked for it.
func (r Revision) IsReturn() bool { return strings.HasPrefix(r.Cause, returnCause) }
