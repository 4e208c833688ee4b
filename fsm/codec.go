package fsm

import (
	"crypto/sha256"
	"encoding/binary"
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
	proposalVersion = storage.ProposalFormat
	entryVersion    = storage.EntryFormat
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
	// kindPutPackageForced is a PutPackage with Force.
	kindPutPackageForced kind = 9
	// kindRecordDeployment is a RecordUnitStatus with a revision, with events, or
	// that drops revisions.
	kindRecordDeployment    kind = 10
	kindPutCluster          kind = 11
	kindDeleteCluster       kind = 12
	kindRecordClusterHealth kind = 13
	kindRecordEvents        kind = 14
	kindStageRestore        kind = 15
	kindAbortRestore        kind = 16
	kindCommitRestore       kind = 17
)

// MaxKind is the newest kind of command.
const MaxKind = byte(kindCommitRestore)

// PeekKind returns the kind of an encoded proposal, which need not be one that this
// program knows; 0 when there is none.
func PeekKind(encoded []byte) byte {
	if len(encoded) < 2 {
		return 0
	}
	return encoded[1]
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
		k = kindPutPackage
		if c.Force {
			k = kindPutPackageForced
		}
		return k, c.Name, appendTexts(b, c.Classes), nil
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
	case storage.UpdateRuntimeState:
		b := binary.AppendUvarint(nil, c.IfMatch)
		return kindUpdateRuntimeState, c.Key, appendText(b, c.Document), nil
	case storage.PutCluster:
		b := append(make([]byte, 0, 64+len(c.Document)), byte(c.Mode))
		b = binary.AppendUvarint(b, c.IfMatch)
		b = appendText(b, c.Document)
		return kindPutCluster, c.Name, appendText(b, c.ManagedBy), nil
	case storage.DeleteCluster:
		b := binary.AppendUvarint(nil, c.IfMatch)
		return kindDeleteCluster, c.Name, appendBool(b, c.Force), nil
	case storage.StageRestore, storage.AbortRestore, storage.CommitRestore:
		k, key, payload = encodeRestore(c)
		return k, key, payload, nil
	default:
		return encodeRecord(command)
	}
}

// encodeRecord is encodeCommand for the commands that carry documents which the
// proposer encodes.
func encodeRecord(command storage.Command) (k kind, key string, payload []byte, err error) {
	encoded, err := encodeDocuments(command)
	if err != nil {
		return 0, "", nil, err
	}
	switch c := encoded.(type) {
	case encodedRecordUnitStatus:
		b := appendRecord(nil, c)
		if !c.extended() {
			return kindRecordUnitStatus, c.Deployment, b, nil
		}
		return kindRecordDeployment, c.Deployment, appendRecordExtension(b, c), nil
	case encodedRecordClusterHealth:
		return kindRecordClusterHealth, "", appendClusterHealth(nil, c), nil
	case encodedRecordEvents:
		return kindRecordEvents, "", appendEvents(nil, c.events), nil
	default:
		return 0, "", nil, fmt.Errorf("encode proposal: no encoding for command %T", command)
	}
}

// encodeDocuments encodes the documents inside a command, if it has any that are
// not yet encoded.
func encodeDocuments(command storage.Command) (storage.Command, error) {
	switch c := command.(type) {
	case storage.RecordUnitStatus:
		return encodeUnits(c)
	case storage.RecordClusterHealth:
		return encodeClusterHealth(c)
	case storage.RecordEvents:
		events, err := encodeEvents(c.Events)
		return encodedRecordEvents{events: events}, err
	default:
		return command, nil
	}
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
// none, more than one (a cascading or forced delete), or cannot be decoded: such
// a one can be told apart from no other. All records of clusters' health have one
// key in common, and so have all of events only.
func PeekKey(encoded []byte) string {
	d := decoder{rest: encoded}
	_, k := d.byte(), kind(d.byte())
	key := string(d.text())
	if d.err != nil {
		return ""
	}
	switch k {
	case kindRecordClusterHealth:
		return storage.ClusterHealthPrefix
	case kindRecordEvents:
		return string(storage.EventSequenceKey)
	}
	if key == "" {
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
	case kindDeleteCluster:
		if p, err := DecodeProposal(encoded); err != nil || p.Command.(storage.DeleteCluster).Force {
			return ""
		}
		return storage.ClusterPrefix + key
	case kindPutPackage, kindPutPackageForced:
		return storage.PackagePrefix + key
	case kindUpdateRuntimeState:
		return storage.RuntimeStatePrefix + key
	case kindPutDeployment, kindDeleteDeployment, kindRecordUnitStatus, kindRecordDeployment:
		return storage.DeploymentPrefix + key
	case kindPutCluster:
		return storage.ClusterPrefix + key
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
	case kindPutPackage, kindPutPackageForced:
		c := storage.PutPackage{Name: key, Mode: d.mode(), IfMatch: d.uvarint(), Document: d.text()}
		c.Tags, c.Dependencies, c.Classes = d.texts(), d.texts(), d.texts()
		c.Force = k == kindPutPackageForced
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
	case kindRecordDeployment:
		return d.recordExtension(d.record(key))
	case kindUpdateRuntimeState:
		return storage.UpdateRuntimeState{Key: key, IfMatch: d.uvarint(), Document: d.text()}
	case kindPutCluster:
		c := storage.PutCluster{Name: key, Mode: d.mode(), IfMatch: d.uvarint(), Document: d.text()}
		c.ManagedBy = model.ClusterManager(d.text())
		return c
	case kindDeleteCluster:
		return storage.DeleteCluster{Name: key, IfMatch: d.uvarint(), Force: d.bool()}
	case kindRecordClusterHealth:
		return d.clusterHealth()
	case kindRecordEvents:
		return encodedRecordEvents{events: d.events()}
	case kindStageRestore, kindAbortRestore, kindCommitRestore:
		return d.restore(k, key)
	default:
		d.fail(fmt.Errorf("unknown command: it was written by a newer release"))
		return nil
	}
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
