package fsm

import (
	"fmt"

	"github.com/oprc/oprc-pm/storage"
)

func (a *applier) updateRuntimeState(p storage.Proposal, c storage.UpdateRuntimeState) (storage.Result, error) {
	key := storage.RuntimeStateKey(c.Key)
	old, err := a.load(key)
	if err != nil {
		return storage.Result{}, err
	}
	if rejected := a.checkPut(old, c.Document, storage.Upsert, c.IfMatch, fmt.Sprintf("runtime state %q", c.Key)); rejected != nil {
		return *rejected, nil
	}
	if string(old.user) == string(c.Document) {
		return a.unchanged(old), nil
	}
	stamp := a.nextStamp(old, p.At)
	result := a.putResult(old, stamp)
	return result, a.put(storage.KindRuntimeState, c.Key, key, storage.BuildDocument(stamp, nil, c.Document))
}
