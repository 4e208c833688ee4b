package fsm

import (
	"encoding/binary"
	"fmt"

	"github.com/oprc/oprc-pm/model"
	"github.com/oprc/oprc-pm/storage"
)

// A result is encoded as
//
//	outcome(1) duplicate(1) index version generation code message
//	count, then count times: path message
//
// It travels from the leader to who forwarded a command, and is what the request
// table remembers. Unlike in a command, an outcome that only a newer release
// knows is kept as it is: it cannot make replicas differ.

// AppendResult appends the encoding of r to dst.
func AppendResult(dst []byte, r storage.Result) []byte {
	dst = append(dst, byte(r.Outcome))
	dst = appendBool(dst, r.Duplicate)
	dst = binary.AppendUvarint(dst, r.Index)
	dst = binary.AppendUvarint(dst, r.ResourceVersion)
	dst = binary.AppendUvarint(dst, r.Generation)
	dst = appendText(dst, r.Code)
	dst = appendText(dst, r.Message)
	dst = binary.AppendUvarint(dst, uint64(len(r.Problems)))
	for _, p := range r.Problems {
		dst = appendText(dst, p.Path)
		dst = appendText(dst, p.Message)
	}
	return dst
}

// DecodeResult decodes what AppendResult encoded.
func DecodeResult(b []byte) (storage.Result, error) {
	d := decoder{rest: b}
	r := d.result()
	if d.err == nil && len(d.rest) > 0 {
		d.err = fmt.Errorf("%d bytes too many", len(d.rest))
	}
	if d.err != nil {
		return storage.Result{}, fmt.Errorf("decode result: %w", d.err)
	}
	return r, nil
}

func (d *decoder) result() storage.Result {
	r := storage.Result{Outcome: storage.Outcome(d.byte()), Duplicate: d.bool()}
	r.Index, r.ResourceVersion, r.Generation = d.uvarint(), d.uvarint(), d.uvarint()
	r.Code, r.Message = model.Code(d.text()), string(d.text())
	for n := d.count(2); n > 0 && d.err == nil; n-- {
		r.Problems = append(r.Problems, model.Problem{Path: string(d.text()), Message: string(d.text())})
	}
	return r
}
