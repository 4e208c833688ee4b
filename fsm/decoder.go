package fsm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/oprc/oprc-pm/storage"
)

func appendText[T ~string | ~[]byte](b []byte, text T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

func appendTexts(b []byte, texts []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(texts)))
	for _, text := range texts {
		b = appendText(b, text)
	}
	return b
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

var (
	errTruncated = errors.New("truncated")
	errMalformed = errors.New("malformed number")
)

// decoder reads the encodings of this package. After the first error every read gives a
// zero value; err holds that error.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
		d.rest = nil
	}
}

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.fail(errTruncated)
		return 0
	}
	v := d.rest[0]
	d.rest = d.rest[1:]
	return v
}

// bool refuses what is neither true nor false: it was written by a release that
// gave the byte another meaning.
func (d *decoder) bool() bool {
	v := d.byte()
	if v > 1 {
		d.fail(fmt.Errorf("byte %d is not a truth value", v))
		return false
	}
	return v == 1
}

// mode refuses modes that only a newer release knows.
func (d *decoder) mode() storage.PutMode {
	v := storage.PutMode(d.byte())
	if v > storage.Update {
		d.fail(fmt.Errorf("unknown put mode %d: it was written by a newer release", v))
		return 0
	}
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.fail(errMalformed)
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) uint32() uint32 {
	v := d.uvarint()
	if v > math.MaxUint32 {
		d.fail(errMalformed)
		return 0
	}
	return uint32(v)
}

// bytes reads n bytes; after an error they are zero.
func (d *decoder) bytes(n int) []byte {
	if len(d.rest) < n {
		d.fail(errTruncated)
		return make([]byte, n)
	}
	v := d.rest[:n:n]
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) uint64() uint64 { return binary.BigEndian.Uint64(d.bytes(8)) }

// count reads the number of elements that follow, each at least size bytes long,
// so that a damaged number makes the decoder neither allocate nor loop beyond
// its input.
func (d *decoder) count(size int) int {
	n := d.uvarint()
	if n > uint64(len(d.rest)/size) {
		d.fail(fmt.Errorf("count %d exceeds the input", n))
		return 0
	}
	return int(n)
}

func (d *decoder) text() []byte {
	n := d.count(1)
	v := d.rest[:n:n]
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) texts() []string {
	n := d.count(1)
	if n == 0 {
		return nil
	}
	texts := make([]string, 0, n)
	for range n {
		texts = append(texts, string(d.text()))
	}
	return texts
}
