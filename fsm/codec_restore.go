package fsm

import (
	"encoding/binary"

	"github.com/oprc/oprc-pm/storage"
)

// encodeRestore is encodeCommand for the commands of a restore.
func encodeRestore(command storage.Command) (k kind, key string, payload []byte) {
	switch c := command.(type) {
	case storage.StageRestore:
		b := binary.AppendUvarint(make([]byte, 0, 16+len(c.Data)), uint64(c.Part))
		return kindStageRestore, c.ID, appendText(b, c.Data)
	case storage.CommitRestore:
		b := binary.AppendUvarint(nil, uint64(c.Parts))
		b = appendBool(append(b, c.Sha256[:]...), c.Force)
		return kindCommitRestore, c.ID, binary.AppendUvarint(b, c.MinIndex)
	case storage.AbortRestore:
		return kindAbortRestore, c.ID, nil
	default:
		return 0, "", nil
	}
}

// restore decodes what encodeRestore encoded.
func (d *decoder) restore(k kind, id string) storage.Command {
	switch k {
	case kindStageRestore:
		return storage.StageRestore{ID: id, Part: d.uint32(), Data: d.text()}
	case kindCommitRestore:
		return storage.CommitRestore{ID: id, Parts: d.uint32(), Sha256: [32]byte(d.bytes(32)), Force: d.bool(), MinIndex: d.uvarint()}
	default:
		return storage.AbortRestore{ID: id}
	}
}
