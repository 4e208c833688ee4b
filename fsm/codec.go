package fsm

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// A proposal is encoded as
//
//	version(1) kind(1) key requestID at leaderTerm fingerprint(8) payload
//
// and a log entry as
//
//	version(1) count, then count times: length proposal
//
// where numbers are uvarints (at is nanoseconds since the epoch) and text is a
// uvarint length and bytes. key is what the command is about, first, so that a
// proposer can tell without decoding whether two commands touch one document.
// Files in testdata pin every encoding ever shipped. Kinds are append-only; an
// unknown one is a fault: skipping it would make this replica differ.
const (
	proposalVersion = 1
	entryVersion    = 1
)

type kind byte

const (
	kindBarrier            kind = 1
	kindMintClusterID      kind = 2
	kindPutPackage         kind = 3
	kindDeletePackage      kind = 4
	kindPutDeployment      kind = 5
	kindDeleteDeployment   kind = 6
	kindRecordUnitStatus   kind = 7
	kindUpdateRuntimeState kind = 8
)

// encodedRecordUnitStatus is a RecordUnitStatus whose documents are the bytes
// that the proposer encoded. Replicas store those and never re-encode, so a
// field that only a newer proposer knows is the same on all of them.
type encodedRecordUnitStatus struct {
	storage.RecordUnitStatus
	put []encodedUnit
	// observed holds the members of the observed state; nil: unchanged.
	observed []byte
}

type encodedUnit struct {
	storage.UnitRef
	document []byte
}

// EncodeProposal encodes p for the log. It fails with model.CodeInvalid when p
// holds what cannot be encoded, or what no replica could store: once in the log,
// that would stop every node.
func EncodeProposal(p storage.Proposal) ([]byte, error) {
	if err := checkStorable(p.Request); err != nil {
		return nil, err
	}
	k, key, payload, err := encodeCommand(p.Command)
	if err != nil {
		return nil, err
	}
	if p.Fingerprint == 0 {
		p.Fingerprint = fingerprint(k, key, payload)
	}
	b := make([]byte, 0, 64+len(key)+len(p.ID)+len(payload))
	b = append(b, proposalVersion, byte(k))
	b = appendText(b, key)
	b = appendText(b, p.ID)
	b = binary.AppendUvarint(b, uint64(p.At.UnixNano()))
	b = binary.AppendUvarint(b, p.LeaderTerm)
	b = binary.BigEndian.AppendUint64(b, p.Fingerprint)
	return append(b, payload...), nil
}

// fingerprint is never 0.
func fingerprint(k kind, key string, payload []byte) uint64 {
	h := sha256.New()
	h.Write([]byte{byte(k)})
	h.Write(appendText(nil, key))
	h.Write(payload)
	return max(1, binary.BigEndian.Uint64(h.Sum(nil)))
}

func encodeCommand(command storage.Command) (k kind, key string, payload []byte, err error) {
	switch c := command.(type) {
	case storage.Barrier:
		return kindBarrier, "", nil, nil
	case storage.MintClusterID:
		return kindMintClusterID, c.ClusterID, nil, nil
	case storage.PutPackage:
		b := make([]byte, 0, 64+len(c.Document))
		b = append(b, byte(c.Mode))
		b = binary.AppendUvarint(b, c.IfMatch)
		b = appendText(b, c.Document)
		b = appendTexts(b, c.Tags)
		b = appendTexts(b, c.Dependencies)
		return kindPutPackage, c.Name, appendTexts(b, c.Classes), nil
	case storage.DeletePackage:
		b := binary.AppendUvarint(nil, c.IfMatch)
		return kindDeletePackage, c.Name, appendBool(b, c.Cascade), nil
	case storage.PutDeployment:
		b := make([]byte, 0, 64+len(c.Document))
		b = append(b, byte(c.Mode))
		b = binary.AppendUvarint(b, c.IfMatch)
		b = appendText(b, c.Document)
		b = appendText(b, c.Package)
		b = appendText(b, c.Class)
		return kindPutDeployment, c.Key, appendTexts(b, c.Environments), nil
	case storage.DeleteDeployment:
		return kindDeleteDeployment, c.Key, binary.AppendUvarint(nil, c.IfMatch), nil
	case storage.RecordUnitStatus:
		encoded, err := encodeUnits(c)
		return kindRecordUnitStatus, c.Deployment, appendRecord(nil, encoded), err
	case encodedRecordUnitStatus:
		return kindRecordUnitStatus, c.Deployment, appendRecord(nil, c), nil
	case storage.UpdateRuntimeState:
		b := binary.AppendUvarint(nil, c.IfMatch)
		return kindUpdateRuntimeState, c.Key, appendText(b, c.Document), nil
	default:
		return 0, "", nil, fmt.Errorf("encode proposal: no encoding for command %T", command)
	}
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
	encoded.Put, encoded.Observed = nil, nil
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

// DecodeProposal decodes one proposal. The result aliases b.
func DecodeProposal(b []byte) (storage.Proposal, error) {
	d := decoder{rest: b}
	version, k := d.byte(), kind(d.byte())
	if d.err == nil && version != proposalVersion {
		return storage.Proposal{}, fmt.Errorf("decode proposal: version %d is newer than this program understands (%d)", version, proposalVersion)
	}
	key := string(d.text())
	p := storage.Proposal{Request: storage.Request{ID: string(d.text())}}
	p.At = time.Unix(0, int64(d.uvarint())).UTC()
	p.LeaderTerm = d.uvarint()
	p.Fingerprint = d.uint64()
	if d.err == nil {
		p.Command = d.command(k, key)
	}
	if d.err == nil && len(d.rest) > 0 {
		d.err = fmt.Errorf("%d bytes too many", len(d.rest))
	}
	if d.err != nil {
		return storage.Proposal{}, fmt.Errorf("decode proposal of kind %d: %w", k, d.err)
	}
	return p, nil
}

// minProposal is the length of the shortest encoded proposal.
const minProposal = 2 + 4 + 8

// PeekKey returns what two encoded proposals must share to touch the same
// document, without decoding the documents. It is "" for a proposal that touches
// none, more than one (a cascading delete), or cannot be decoded: such a one can
// be told apart from no other.
func PeekKey(encoded []byte) string {
	d := decoder{rest: encoded}
	_, k := d.byte(), kind(d.byte())
	key := string(d.text())
	if d.err != nil || key == "" {
		return ""
	}
	switch k {
	case kindMintClusterID:
		return string(storage.ClusterIDKey)
	case kindDeletePackage:
		if p, err := DecodeProposal(encoded); err != nil || p.Command.(storage.DeletePackage).Cascade {
			return ""
		}
		return storage.PackagePrefix + key
	case kindPutPackage:
		return storage.PackagePrefix + key
	case kindUpdateRuntimeState:
		return storage.RuntimeStatePrefix + key
	case kindPutDeployment, kindDeleteDeployment, kindRecordUnitStatus:
		return storage.DeploymentPrefix + key
	default:
		return ""
	}
}

func (d *decoder) command(k kind, key string) storage.Command {
	switch k {
	case kindBarrier:
		return storage.Barrier{}
	case kindMintClusterID:
		return storage.MintClusterID{ClusterID: key}
	case kindPutPackage:
		c := storage.PutPackage{Name: key, Mode: d.mode(), IfMatch: d.uvarint(), Document: d.text()}
		c.Tags, c.Dependencies, c.Classes = d.texts(), d.texts(), d.texts()
		return c
	case kindDeletePackage:
		return storage.DeletePackage{Name: key, IfMatch: d.uvarint(), Cascade: d.bool()}
	case kindPutDeployment:
		c := storage.PutDeployment{Key: key, Mode: d.mode(), IfMatch: d.uvarint(), Document: d.text()}
		c.Package, c.Class = string(d.text()), string(d.text())
		c.Environments = d.texts()
		return c
	case kindDeleteDeployment:
		return storage.DeleteDeployment{Key: key, IfMatch: d.uvarint()}
	case kindRecordUnitStatus:
		return d.record(key)
	case kindUpdateRuntimeState:
		return storage.UpdateRuntimeState{Key: key, IfMatch: d.uvarint(), Document: d.text()}
	default:
		d.fail(fmt.Errorf("unknown command: it was written by a newer release"))
		return nil
	}
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

// PackEntry packs encoded proposals into the data of one log entry.
func PackEntry(encoded [][]byte) []byte {
	size := 1 + binary.MaxVarintLen32
	for _, p := range encoded {
		size += len(p) + binary.MaxVarintLen32
	}
	b := make([]byte, 0, size)
	b = append(b, entryVersion)
	b = binary.AppendUvarint(b, uint64(len(encoded)))
	for _, p := range encoded {
		b = appendText(b, p)
	}
	return b
}

// UnpackEntry decodes the data of one log entry. The result aliases data.
func UnpackEntry(data []byte) ([]storage.Proposal, error) {
	d := decoder{rest: data}
	if version := d.byte(); d.err == nil && version != entryVersion {
		return nil, fmt.Errorf("decode log entry: version %d is newer than this program understands (%d)", version, entryVersion)
	}
	n := d.count(minProposal + 1)
	proposals := make([]storage.Proposal, 0, n)
	for range n {
		encoded := d.text()
		if d.err != nil {
			break
		}
		p, err := DecodeProposal(encoded)
		if err != nil {
			return nil, err
		}
		proposals = append(proposals, p)
	}
	if d.err != nil {
		return nil, fmt.Errorf("decode log entry: %w", d.err)
	}
	if len(d.rest) > 0 {
		return nil, fmt.Errorf("decode log entry: %d bytes too many", len(d.rest))
	}
	return proposals, nil
}
