package fsm

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// encodedEvent is an event as its proposer encoded it, without its sequence:
// that is the store's to give.
type encodedEvent struct {
	kind, name string
	// members of the JSON object that follow the sequence.
	members []byte
}

// encodedRecordEvents is a RecordEvents with encoded documents.
type encodedRecordEvents struct {
	storage.RecordEvents
	events []encodedEvent
}

// unsequenced is how the encoding of an event without a sequence begins.
const unsequenced = `{"sequence":0,`

func encodeEvents(events []model.Event) ([]encodedEvent, error) {
	var encoded []encodedEvent
	for _, event := range events {
		event.Sequence = 0
		event.At = event.At.UTC()
		document, err := model.EncodeEvent(event)
		if err != nil {
			return nil, model.Errorf(model.CodeInvalid, "event about %s %.64q: %v", event.Kind, event.Name, err)
		}
		if len(document) <= len(unsequenced) || string(document[:len(unsequenced)]) != unsequenced {
			return nil, fmt.Errorf("encode event: the sequence is not the first member of %.40s", document)
		}
		encoded = append(encoded, encodedEvent{
			kind: event.Kind, name: event.Name, members: document[len(unsequenced) : len(document)-1],
		})
	}
	return encoded, nil
}

// document is the stored form of the event. It shares no memory with the entry
// that the event came in.
func (e encodedEvent) document(sequence uint64) []byte {
	b := make([]byte, 0, len(e.members)+36)
	b = append(b, `{"sequence":`...)
	b = strconv.AppendUint(b, sequence, 10)
	b = append(b, ',')
	b = append(b, e.members...)
	return append(b, '}')
}

func appendEvents(b []byte, events []encodedEvent) []byte {
	b = binary.AppendUvarint(b, uint64(len(events)))
	for _, event := range events {
		b = appendText(b, event.kind)
		b = appendText(b, event.name)
		b = appendText(b, event.members)
	}
	return b
}

func (d *decoder) events() []encodedEvent {
	var events []encodedEvent
	for n := d.count(3); n > 0 && d.err == nil; n-- {
		events = append(events, encodedEvent{kind: string(d.text()), name: string(d.text()), members: d.text()})
	}
	return events
}
