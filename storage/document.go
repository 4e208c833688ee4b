package storage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// A stored document is one JSON object on two lines. The first holds what the
// store owns (resource version, generation, times, observed state), the second
// what the user wrote, encoded once by the proposer:
//
//	{"resource_version":7,"generation":2,"created_at":"…","updated_at":"…",
//	"name":"shop","version":"1.0",…}
//
// Compact JSON never contains a raw newline, so the seam is found without
// decoding: the applier replaces one line and copies the other, and a reader
// gets the value as it is.

// Stamp is the part of the system line that every document has.
type Stamp struct {
	// ResourceVersion is the index of the document's last change.
	ResourceVersion uint64
	// Generation counts changes of the user line, from 1.
	Generation uint64
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// BuildDocument joins a stamp, further system fields and the user fields into a
// stored document. extra and user are JSON object members without braces
// ("a":1,"b":2); extra may be empty, user may not.
func BuildDocument(s Stamp, extra, user []byte) []byte {
	doc := make([]byte, 0, 160+len(extra)+len(user))
	doc = append(doc, `{"resource_version":`...)
	doc = strconv.AppendUint(doc, s.ResourceVersion, 10)
	doc = append(doc, `,"generation":`...)
	doc = strconv.AppendUint(doc, s.Generation, 10)
	doc = append(doc, `,"created_at":"`...)
	doc = s.CreatedAt.UTC().AppendFormat(doc, time.RFC3339Nano)
	doc = append(doc, `","updated_at":"`...)
	doc = s.UpdatedAt.UTC().AppendFormat(doc, time.RFC3339Nano)
	doc = append(doc, '"', ',')
	if len(extra) > 0 {
		doc = append(doc, extra...)
		doc = append(doc, ',')
	}
	doc = append(doc, '\n')
	doc = append(doc, user...)
	return append(doc, '}')
}

// SplitDocument returns the members of the two lines of a stored document
// without braces and separators; both alias doc.
func SplitDocument(doc []byte) (system, user []byte, err error) {
	seam := bytes.IndexByte(doc, '\n')
	if seam < 2 || doc[0] != '{' || doc[seam-1] != ',' || doc[len(doc)-1] != '}' {
		return nil, nil, fmt.Errorf("document has no system line: %.40q", doc)
	}
	return doc[1 : seam-1], doc[seam+1 : len(doc)-1], nil
}

// ObservedMembers returns the members of a system line that follow the stamp,
// without the separating comma; it aliases system.
func ObservedMembers(system []byte) ([]byte, error) {
	const last = `"updated_at":"`
	_, rest, found := bytes.Cut(system, []byte(last))
	end := bytes.IndexByte(rest, '"')
	if !found || end < 0 {
		return nil, fmt.Errorf("system line has no stamp: %.40q", system)
	}
	return bytes.TrimPrefix(rest[end+1:], []byte(",")), nil
}

// ReadStamp decodes the stamp of a stored document.
func ReadStamp(doc []byte) (Stamp, error) {
	system, _, err := SplitDocument(doc)
	if err != nil {
		return Stamp{}, err
	}
	var wire struct {
		ResourceVersion uint64    `json:"resource_version"`
		Generation      uint64    `json:"generation"`
		CreatedAt       time.Time `json:"created_at"`
		UpdatedAt       time.Time `json:"updated_at"`
	}
	object := make([]byte, 0, len(system)+2)
	object = append(append(append(object, '{'), system...), '}')
	if err := json.Unmarshal(object, &wire); err != nil {
		return Stamp{}, fmt.Errorf("decode stamp: %w", err)
	}
	return Stamp(wire), nil
}

// ResourceVersion reads only the resource version of a stored document, without
// decoding the rest. It returns 0 for anything that is not a stored document.
func ResourceVersion(doc []byte) uint64 {
	const head = `{"resource_version":`
	if !bytes.HasPrefix(doc, []byte(head)) {
		return 0
	}
	var version uint64
	for _, c := range doc[len(head):] {
		if c < '0' || c > '9' {
			break
		}
		version = version*10 + uint64(c-'0')
	}
	return version
}
