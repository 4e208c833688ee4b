package storage

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/oprc/oprc-pm/model"
)

// EventQuery selects events. The zero value selects all, the oldest first.
type EventQuery struct {
	// Kind and Name select by subject, Type and Reason by those; empty: any.
	Kind, Name string
	Type       model.EventType
	Reason     string
	// After selects events of a greater sequence; where a list goes on.
	After uint64
	// Before, when not 0, selects events of a smaller sequence; where a list
	// that begins with the newest goes on.
	Before uint64
	// Since selects events that are not older; zero: any.
	Since time.Time
	// NewestFirst turns the order round.
	NewestFirst bool
	// Limit is the most events that are visited; 0: no limit.
	Limit int
}

// ListEvents visits the events that match q. doc is JSON of model.Event.
func ListEvents(r Reader, q EventQuery, visit func(event model.Event, doc []byte) (bool, error)) error {
	visited := 0
	each := func(sequence uint64, doc []byte) (bool, error) {
		event, err := model.ParseEvent(doc)
		if err != nil {
			return false, fmt.Errorf("decode event %d: %w", sequence, err)
		}
		if !q.matches(event) {
			return true, nil
		}
		visited++
		more, err := visit(event, doc)
		return more && (q.Limit == 0 || visited < q.Limit), err
	}
	switch {
	case q.Kind != "" && q.Name != "":
		return q.scanSubject(r, each)
	case q.NewestFirst:
		return q.scanBackwards(r, each)
	default:
		return q.scanForwards(r, each)
	}
}

// DecodeEvents returns the events that match q.
func DecodeEvents(r Reader, q EventQuery) ([]model.Event, error) {
	events := []model.Event{}
	err := ListEvents(r, q, func(event model.Event, _ []byte) (bool, error) {
		events = append(events, event)
		return true, nil
	})
	return events, err
}

func (q EventQuery) matches(e model.Event) bool {
	return (q.Kind == "" || q.Kind == e.Kind) && (q.Name == "" || q.Name == e.Name) &&
		(q.Type == "" || q.Type == e.Type) && (q.Reason == "" || q.Reason == e.Reason) &&
		!e.At.Before(q.Since)
}

// inside tells whether a sequence lies within the bounds.
func (q EventQuery) inside(sequence uint64) bool {
	return sequence > q.After && (q.Before == 0 || sequence < q.Before)
}

// scanSubject uses the index. A subject has at most MaxEvents events, so their
// sequences are read before the first event is.
func (q EventQuery) scanSubject(r Reader, each func(uint64, []byte) (bool, error)) error {
	var sequences []uint64
	err := ByEventSubject.Scan(r, EventSubject(q.Kind, q.Name), eventName(q.After+1), func(name string) (bool, error) {
		sequence, err := strconv.ParseUint(name, 10, 64)
		if err != nil {
			return false, fmt.Errorf("the index of events of %s %q names %q: %w", q.Kind, q.Name, name, err)
		}
		if !q.inside(sequence) {
			return false, nil
		}
		sequences = append(sequences, sequence)
		return true, nil
	})
	if err != nil {
		return err
	}
	if q.NewestFirst {
		slices.Reverse(sequences)
	}
	for _, sequence := range sequences {
		doc, err := r.Get(StoredEventKey(sequence))
		if err != nil {
			return err
		}
		if doc == nil {
			return fmt.Errorf("the index of events of %s %q names event %d, which does not exist", q.Kind, q.Name, sequence)
		}
		if more, err := each(sequence, doc); err != nil || !more {
			return err
		}
	}
	return nil
}

// scanBackwards goes by the sequences, which have no gaps.
func (q EventQuery) scanBackwards(r Reader, each func(uint64, []byte) (bool, error)) error {
	newest, err := NewestEvent(r)
	if err != nil {
		return err
	}
	if q.Before != 0 {
		newest = min(newest, q.Before-1)
	}
	for sequence := newest; q.inside(sequence); sequence-- {
		doc, err := r.Get(StoredEventKey(sequence))
		if err != nil {
			return err
		}
		if doc == nil {
			return nil
		}
		if more, err := each(sequence, doc); err != nil || !more {
			return err
		}
	}
	return nil
}

func (q EventQuery) scanForwards(r Reader, each func(uint64, []byte) (bool, error)) error {
	start := StoredEventKey(q.After + 1)
	return r.Scan(start, PrefixEnd([]byte(StoredEventPrefix)), func(key, doc []byte) (bool, error) {
		sequence, err := strconv.ParseUint(string(key[len(StoredEventPrefix):]), 10, 64)
		if err != nil {
			return false, fmt.Errorf("read event key %q: %w", key, err)
		}
		if !q.inside(sequence) {
			return false, nil
		}
		return each(sequence, doc)
	})
}

// NewestEvent is the sequence of the newest event; 0 when there was none.
func NewestEvent(r Reader) (uint64, error) {
	text, err := r.Get(EventSequenceKey)
	if err != nil || text == nil {
		return 0, err
	}
	sequence, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the sequence of events: %w", err)
	}
	return sequence, nil
}
