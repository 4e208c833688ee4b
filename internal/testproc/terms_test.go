package testproc

import (
	"fmt"
	"net/http"
	"testing"
)

// checkTerms reads a journal from its beginning: once a cluster has heeded a
// leader it heeds no older one, and changes are made in the name of a leader only.
// Calls of fewer leaders than least show nothing.
func checkTerms(t *testing.T, s *Sim, least int) {
	t.Helper()
	calls, err := s.Calls(0)
	if err != nil {
		t.Error(err)
		return
	}
	if len(calls) == 0 || calls[0].Seq != 1 {
		t.Errorf("the journal of %s is not whole", s.Name)
		return
	}
	faults, terms, refused := readTerms(calls)
	for _, fault := range faults {
		t.Errorf("%s: %s", s.Name, fault)
	}
	t.Logf("%s: %d calls of %d leaders, %d refused", s.Name, len(calls), terms, refused)
	if terms < least {
		t.Errorf("%s was called by %d leaders, want at least %d for the test to mean anything", s.Name, terms, least)
	}
}

// readTerms finds calls that a cluster should not have heeded, and counts the
// leaders and the calls that it refused.
func readTerms(calls []SimCall) (faults []string, terms, refused int) {
	var newest uint64
	seen := map[uint64]bool{}
	for _, call := range calls {
		changes := call.Name == "deploy" || call.Name == "delete"
		switch {
		case call.Effect == "refused" || call.Status == http.StatusConflict:
			refused++
			continue
		case changes && call.Term == 0:
			faults = append(faults, fmt.Sprintf("call %d, %s of %s, names no term", call.Seq, call.Name, call.Unit))
		case call.Term > 0 && call.Term < newest:
			faults = append(faults, fmt.Sprintf("call %d, %s of %s, was heeded in term %d after one of term %d", call.Seq, call.Name, call.Unit, call.Term, newest))
		}
		newest = max(newest, call.Term)
		if call.Term > 0 {
			seen[call.Term] = true
		}
	}
	return faults, len(seen), refused
}

// TestReadTerms: what the crash test reads from a journal.
func TestReadTerms(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		calls                  []SimCall
		faults, terms, refused int
	}{
		"newer leaders":             {[]SimCall{{Name: "deploy", Term: 3}, {Name: "health"}, {Name: "delete", Term: 5}}, 0, 2, 0},
		"an older one refused":      {[]SimCall{{Name: "deploy", Term: 5}, {Name: "deploy", Term: 3, Status: 409, Effect: "refused"}}, 0, 1, 1},
		"an older one heeded":       {[]SimCall{{Name: "deploy", Term: 5}, {Name: "deploy", Term: 3, Effect: "created"}}, 1, 2, 0},
		"an older one asked status": {[]SimCall{{Name: "status", Term: 5}, {Name: "status", Term: 3, Status: 200}}, 1, 2, 0},
		"a change by nobody":        {[]SimCall{{Name: "delete", Effect: "deleted"}}, 1, 0, 0},
	} {
		faults, terms, refused := readTerms(tt.calls)
		if len(faults) != tt.faults || terms != tt.terms || refused != tt.refused {
			t.Errorf("%s: got faults %v, %d leaders, %d refused, want %d, %d, %d", name, faults, terms, refused, tt.faults, tt.terms, tt.refused)
		}
	}
}
