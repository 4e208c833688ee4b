package fsm

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/oprc/oprc-pm/storage"
)

func (a *applier) recordEvents(c encodedRecordEvents) (storage.Result, error) {
	if len(c.events) == 0 {
		return storage.Result{Index: a.index, Outcome: storage.Unchanged}, nil
	}
	return storage.Result{Index: a.index, Outcome: storage.Updated}, a.keepEvents(c.events)
}

// keepEvents gives events their sequence and keeps them. The oldest make room:
// the sequences kept are always the newest maxEvents, without a gap, so that one
// event costs the same however many there are.
func (a *applier) keepEvents(events []encodedEvent) error {
	if len(events) == 0 {
		return nil
	}
	sequence, err := storage.NewestEvent(a.tx)
	if err != nil {
		return err
	}
	for _, event := range events {
		sequence++
		if err := a.keepEvent(sequence, event); err != nil {
			return err
		}
		if sequence > a.maxEvents {
			if err := a.dropEvent(sequence - a.maxEvents); err != nil {
				return err
			}
		}
	}
	return a.tx.Put(storage.EventSequenceKey, strconv.AppendUint(nil, sequence, 10))
}

func (a *applier) keepEvent(sequence uint64, event encodedEvent) error {
	key := storage.StoredEventKey(sequence)
	name := eventName(key)
	term := storage.EventSubject(event.kind, event.name)
	if err := a.tx.Put(storage.ByEventSubject.Key(term, name), storage.IndexValue); err != nil {
		return err
	}
	return a.put(storage.KindEvent, name, key, event.document(sequence))
}

// dropEvent removes an event with its index key, if it is there.
func (a *applier) dropEvent(sequence uint64) error {
	key := storage.StoredEventKey(sequence)
	document, err := a.tx.Get(key)
	if err != nil || document == nil {
		return err
	}
	term, err := eventSubject(document)
	if err != nil {
		return fmt.Errorf("read event %d: %w", sequence, err)
	}
	name := eventName(key)
	if err := a.tx.Delete(storage.ByEventSubject.Key(term, name)); err != nil {
		return err
	}
	return a.remove(storage.KindEvent, name, key)
}

// eventName is how an event is named in the index and to watchers: its sequence
// in 20 digits.
func eventName(key []byte) string { return string(key[len(storage.StoredEventPrefix):]) }

// eventSubject reads the index term of a stored event.
func eventSubject(document []byte) (string, error) {
	var kind, name string
	var failed error
	err := members(document, func(member string, value jsontext.Value) bool {
		switch member {
		case "kind":
			failed = json.Unmarshal(value, &kind)
		case "name":
			failed = json.Unmarshal(value, &name)
			return false
		}
		return failed == nil
	})
	if err == nil {
		err = failed
	}
	return storage.EventSubject(kind, name), err
}
