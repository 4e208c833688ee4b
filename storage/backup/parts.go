package backup

import (
	"errors"
	"fmt"
	"io"

	"github.com/oprc/oprc-pm/storage"
)

// StagedFile reads the parts that are staged for a restore as one file. A part that
// is missing is damage.
func StagedFile(r storage.Reader, id string, parts uint32) io.Reader {
	return &stagedFile{r: r, id: id, parts: parts}
}

type stagedFile struct {
	r     storage.Reader
	id    string
	next  uint32
	parts uint32
	rest  []byte
}

// Read implements io.Reader.
func (f *stagedFile) Read(p []byte) (int, error) {
	for len(f.rest) == 0 {
		if f.next == f.parts {
			return 0, io.EOF
		}
		part, err := f.r.Get(storage.RestorePartKey(f.id, f.next))
		if err != nil {
			return 0, err
		}
		if part == nil {
			return 0, damaged("part %d of %d is not there", f.next, f.parts)
		}
		f.rest = part
		f.next++
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// eachPart cuts a file into what StageRestore takes. fn must not keep the slice.
func eachPart(file io.Reader, fn func(part uint32, data []byte) error) (parts uint32, err error) {
	buffer := make([]byte, storage.RestorePartBytes)
	for {
		n, err := io.ReadFull(file, buffer)
		if n > 0 {
			if err := fn(parts, buffer[:n]); err != nil {
				return parts, err
			}
			parts++
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return parts, nil
		case err != nil:
			return parts, fmt.Errorf("read the backup: %w", err)
		}
	}
}
