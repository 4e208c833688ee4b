package fsm

import (
	"fmt"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// Machine applies proposals to a transaction. It implements storage.Machine. It
// holds no state of its own besides a lookup table that it can rebuild from the
// transaction (Load). It is for one goroutine.
type Machine struct {
	requests *requestTable
	// maxEvents is storage.MaxEvents, less in tests.
	maxEvents uint64
}

// NewMachine returns a machine for an empty store; Load it for any other.
func NewMachine() *Machine {
	return &Machine{requests: newRequestTable(), maxEvents: storage.MaxEvents}
}

// Load prepares the machine for the state behind r.
func (m *Machine) Load(r storage.Reader) error {
	if err := m.requests.load(r); err != nil {
		return fmt.Errorf("load request table: %w", err)
	}
	return nil
}

// Undo forgets what the last Apply learnt: its transaction was abandoned.
func (m *Machine) Undo() { m.requests.undo() }

// Absorb learns what another replica applied, from what that changed.
func (m *Machine) Absorb(changes []storage.Change) error {
	for _, c := range changes {
		if err := m.requests.absorb(c); err != nil {
			return fmt.Errorf("absorb a change of %q: %w", c.Key, err)
		}
	}
	return nil
}

// Apply runs the proposals of one log entry, in order. See storage.Machine.
func (m *Machine) Apply(tx storage.Tx, index, term uint64, proposals []storage.Proposal) ([]storage.Result, []storage.Event, error) {
	m.requests.keep()
	a := applier{tx: tx, index: index, term: term, maxEvents: m.maxEvents}
	results := make([]storage.Result, 0, len(proposals))
	var fresh []remembered
	for _, p := range proposals {
		result, memory, err := m.applyOnce(&a, p, fresh)
		if err != nil {
			return nil, nil, fmt.Errorf("apply %T at index %d: %w", p.Command, index, err)
		}
		results = append(results, result)
		if memory != nil {
			fresh = append(fresh, *memory)
		}
	}
	if err := m.requests.record(tx, index, fresh); err != nil {
		return nil, nil, fmt.Errorf("record requests at index %d: %w", index, err)
	}
	return results, a.events, nil
}

// applyOnce runs a proposal unless its request was applied before, in an earlier
// entry or among fresh. What it returns to remember is nil for a duplicate and
// for a proposal without request id.
func (m *Machine) applyOnce(a *applier, p storage.Proposal, fresh []remembered) (storage.Result, *remembered, error) {
	if c, ok := p.Command.(storage.CommitRestore); ok {
		result, err := m.restore(a, c)
		return result, nil, err
	}
	if p.ID == "" {
		result, err := a.apply(p)
		return result, nil, err
	}
	if p.Fingerprint == 0 {
		k, key, payload, err := encodeCommand(p.Command)
		if err != nil {
			return storage.Result{}, nil, err
		}
		p.Fingerprint = fingerprint(k, key, payload)
	}
	id := hashRequestID(p.ID)
	before, known, err := m.recall(a.tx, id, fresh)
	if err != nil {
		return storage.Result{}, nil, err
	}
	if known {
		return duplicate(before, p, a.index), nil, nil
	}
	result, err := a.apply(p)
	if err != nil {
		return storage.Result{}, nil, err
	}
	return result, &remembered{id: id, fingerprint: p.Fingerprint, result: result}, nil
}

// restore replaces the state, and with it what is known of requests. So its own
// result is not remembered there: the state tells of it.
func (m *Machine) restore(a *applier, c storage.CommitRestore) (storage.Result, error) {
	result, err := a.commitRestore(c)
	if err != nil || result.Code != "" || result.Duplicate {
		return result, err
	}
	return result, m.requests.replace(a.tx)
}

func (m *Machine) recall(r storage.Reader, id requestID, fresh []remembered) (remembered, bool, error) {
	for _, request := range fresh {
		if request.id == id {
			return request, true, nil
		}
	}
	return m.requests.find(r, id)
}

// duplicate is the answer to a request that was applied before.
func duplicate(before remembered, p storage.Proposal, index uint64) storage.Result {
	if before.fingerprint != p.Fingerprint {
		return storage.Result{
			Index:   index,
			Code:    model.CodeConflict,
			Message: "the idempotency key was used before, with another request",
		}
	}
	result := before.result
	result.Duplicate = true
	return result
}

// applier is what the commands of one log entry run in.
type applier struct {
	tx          storage.Tx
	index, term uint64
	// maxEvents is how many events of the model are kept.
	maxEvents uint64
	// events are the changes so far, for watchers.
	events []storage.Event
}

// apply runs one command. All its rules are checked before its first write, so
// that a rejection leaves no trace.
func (a *applier) apply(p storage.Proposal) (storage.Result, error) {
	if p.LeaderTerm != 0 && p.LeaderTerm < a.term {
		return a.reject(model.CodeConflict, "the leader of term %d was deposed: this is term %d", p.LeaderTerm, a.term)
	}
	switch c := p.Command.(type) {
	case storage.Barrier:
		return storage.Result{Index: a.index, Outcome: storage.Unchanged}, nil
	case storage.MintClusterID:
		return a.mintClusterID(c)
	case storage.PutPackage:
		return a.putPackage(p, c)
	case storage.DeletePackage:
		return a.deletePackage(p, c)
	case storage.PutDeployment:
		return a.putDeployment(p, c)
	case storage.DeleteDeployment:
		return a.deleteDeployment(p, c)
	case storage.UpdateRuntimeState:
		return a.updateRuntimeState(p, c)
	case storage.PutCluster:
		return a.putCluster(p, c)
	case storage.DeleteCluster:
		return a.deleteCluster(p, c)
	case storage.StageRestore:
		return a.stageRestore(c)
	case storage.AbortRestore:
		return a.abortRestore(c)
	default:
		return a.applyRecord(p.Command)
	}
}

// applyRecord runs the commands that carry documents which the proposer encodes.
func (a *applier) applyRecord(command storage.Command) (storage.Result, error) {
	encoded, err := encodeDocuments(command)
	if err != nil {
		return storage.Result{}, err
	}
	switch c := encoded.(type) {
	case encodedRecordUnitStatus:
		return a.recordUnitStatus(c)
	case encodedRecordClusterHealth:
		return a.recordClusterHealth(c)
	case encodedRecordEvents:
		return a.recordEvents(c)
	default:
		return storage.Result{}, fmt.Errorf("no rule for command %T", command)
	}
}

// reject is the result of a command that breaks a rule.
func (a *applier) reject(code model.Code, format string, args ...any) (storage.Result, error) {
	return storage.Result{Index: a.index, Code: code, Message: fmt.Sprintf(format, args...)}, nil
}

// rejectField is reject for a rule about one field.
func (a *applier) rejectField(code model.Code, path, format string, args ...any) (storage.Result, error) {
	p := model.Problem{Path: path, Message: fmt.Sprintf(format, args...)}
	return storage.Result{Index: a.index, Code: code, Message: p.String(), Problems: []model.Problem{p}}, nil
}

func (a *applier) mintClusterID(c storage.MintClusterID) (storage.Result, error) {
	if c.ClusterID == "" {
		return a.reject(model.CodeInvalid, "the cluster id must not be empty")
	}
	present, err := a.tx.Get(storage.ClusterIDKey)
	if err != nil {
		return storage.Result{}, err
	}
	if present != nil {
		return a.reject(model.CodeConflict, "the cluster has the id %s already", present)
	}
	if err := a.tx.Put(storage.ClusterIDKey, []byte(c.ClusterID)); err != nil {
		return storage.Result{}, err
	}
	return storage.Result{Index: a.index, Outcome: storage.Created}, nil
}

// put writes a document and announces it.
func (a *applier) put(kind storage.Kind, name string, key, document []byte) error {
	a.events = append(a.events, storage.Event{Index: a.index, Type: storage.EventPut, Kind: kind, Key: name, Document: document})
	return a.tx.Put(key, document)
}

// remove deletes a document and announces it.
func (a *applier) remove(kind storage.Kind, name string, key []byte) error {
	a.events = append(a.events, storage.Event{Index: a.index, Type: storage.EventDelete, Kind: kind, Key: name})
	return a.tx.Delete(key)
}
