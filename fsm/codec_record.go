package fsm

import (
	"encoding/binary"
	"encoding/json"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// encodedRecordUnitStatus is a RecordUnitStatus whose documents are the bytes
// that the proposer encoded. Replicas store those and never re-encode, so a
// field that only a newer proposer knows is the same on all of them.
type encodedRecordUnitStatus struct {
	storage.RecordUnitStatus
	put []encodedUnit
	// observed holds the members of the observed state; nil: unchanged.
	observed []byte
	// revision is nil when there is none.
	revision *encodedRevision
	events   []encodedEvent
}

// extended tells whether the command has what the first release of its encoding
// did not know.
func (c encodedRecordUnitStatus) extended() bool {
	return c.revision != nil || c.KeepRevisionsFrom != 0 || len(c.events) > 0
}

type encodedUnit struct {
	storage.UnitRef
	document []byte
}

type encodedRevision struct {
	number   uint64
	document []byte
}

// encodeUnits encodes the documents inside a RecordUnitStatus.
func encodeUnits(c storage.RecordUnitStatus) (encodedRecordUnitStatus, error) {
	encoded := encodedRecordUnitStatus{RecordUnitStatus: c}
	for _, unit := range c.Put {
		document, err := json.Marshal(unit)
		if err != nil {
			return encoded, model.Errorf(model.CodeInvalid, "encode unit %s: %v", unit.ID, err)
		}
		ref := storage.UnitRef{Cluster: unit.Cluster, Unit: unit.ID}
		encoded.put = append(encoded.put, encodedUnit{UnitRef: ref, document: document})
	}
	if c.Observed != nil {
		observed := *c.Observed
		observed.DeletionRequestedAt = nil
		object, err := json.Marshal(observed)
		if err != nil {
			return encoded, model.Errorf(model.CodeInvalid, "encode observed state of %s: %v", c.Deployment, err)
		}
		encoded.observed = object[1 : len(object)-1]
	}
	if c.Revision != nil {
		document, err := model.EncodeRevision(*c.Revision)
		if err != nil {
			return encoded, model.Errorf(model.CodeInvalid, "revision %d of %s: %v", c.Revision.Revision, c.Deployment, err)
		}
		encoded.revision = &encodedRevision{number: c.Revision.Revision, document: document}
	}
	events, err := encodeEvents(c.Events)
	if err != nil {
		return encoded, err
	}
	encoded.events = events
	encoded.Put, encoded.Observed, encoded.Revision, encoded.Events = nil, nil, nil, nil
	return encoded, nil
}

func appendRecord(b []byte, c encodedRecordUnitStatus) []byte {
	b = binary.AppendUvarint(b, c.Generation)
	b = binary.AppendUvarint(b, uint64(len(c.put)))
	for _, unit := range c.put {
		b = appendText(b, unit.Cluster)
		b = appendText(b, unit.Unit)
		b = appendText(b, unit.document)
	}
	b = binary.AppendUvarint(b, uint64(len(c.Remove)))
	for _, ref := range c.Remove {
		b = appendText(b, ref.Cluster)
		b = appendText(b, ref.Unit)
	}
	b = appendBool(b, c.observed != nil)
	b = appendText(b, c.observed)
	return appendBool(b, c.Forget)
}

// appendRecordExtension appends what kindRecordDeployment has besides.
func appendRecordExtension(b []byte, c encodedRecordUnitStatus) []byte {
	b = appendBool(b, c.revision != nil)
	if c.revision != nil {
		b = binary.AppendUvarint(b, c.revision.number)
		b = appendText(b, c.revision.document)
	}
	b = binary.AppendUvarint(b, c.KeepRevisionsFrom)
	return appendEvents(b, c.events)
}

func (d *decoder) record(deployment string) encodedRecordUnitStatus {
	c := encodedRecordUnitStatus{RecordUnitStatus: storage.RecordUnitStatus{Deployment: deployment}}
	c.Generation = d.uvarint()
	for n := d.count(3); n > 0 && d.err == nil; n-- {
		ref := storage.UnitRef{Cluster: string(d.text()), Unit: string(d.text())}
		c.put = append(c.put, encodedUnit{UnitRef: ref, document: d.text()})
	}
	for n := d.count(2); n > 0 && d.err == nil; n-- {
		c.Remove = append(c.Remove, storage.UnitRef{Cluster: string(d.text()), Unit: string(d.text())})
	}
	hasObserved, observed := d.bool(), d.text()
	if hasObserved {
		c.observed = observed
	}
	c.Forget = d.bool()
	return c
}

func (d *decoder) recordExtension(c encodedRecordUnitStatus) encodedRecordUnitStatus {
	if d.bool() {
		c.revision = &encodedRevision{number: d.uvarint(), document: d.text()}
	}
	c.KeepRevisionsFrom = d.uvarint()
	c.events = d.events()
	return c
}
