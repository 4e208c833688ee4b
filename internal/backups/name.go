package backups

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/oprc/oprc-pm/storage/backup"
)

// File is a backup at a destination.
type File struct {
	Name string
	Size int64
	// What its name says.
	ClusterID string
	CreatedAt time.Time
	Index     uint64
}

const nameTime = "20060102T150405Z"

var namePattern = regexp.MustCompile(`^oprc-([0-9A-Za-z]{1,64})-(\d{8}T\d{6}Z)-(\d{1,20})\.backup$`)

// fileName is that of a backup of a cluster.
func fileName(clusterID string, h backup.Header) string {
	return fmt.Sprintf("oprc-%s-%s-%d.backup", clusterID, h.CreatedAt.UTC().Format(nameTime), h.Index)
}

// parseName reads a file's name; ok is false for what is no backup of any cluster.
func parseName(name string, size int64) (f File, ok bool) {
	m := namePattern.FindStringSubmatch(name)
	if m == nil {
		return f, false
	}
	at, err := time.Parse(nameTime, m[2])
	if err != nil {
		return f, false
	}
	index, err := strconv.ParseUint(m[3], 10, 64)
	if err != nil {
		return f, false
	}
	return File{Name: name, Size: size, ClusterID: m[1], CreatedAt: at, Index: index}, true
}

// newer orders files, the newest first.
func newer(a, b File) int {
	if c := b.CreatedAt.Compare(a.CreatedAt); c != 0 {
		return c
	}
	switch {
	case a.Index > b.Index:
		return -1
	case a.Index < b.Index:
		return 1
	}
	return 0
}
