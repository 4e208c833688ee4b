package cluster

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// boltSize is how big a file, or a directory of files, is, and how much of that
// waits to be used again.
type boltSize struct {
	name        string
	bytes, free int64
}

func sizeOfBolt(name, path string, store *raftboltdb.BoltStore) func() boltSize {
	return func() boltSize {
		return boltSize{name, fileSize(path), int64(store.Stats().FreeAlloc)}
	}
}

func sizeOfDir(name, path string) func() boltSize {
	return func() boltSize { return boltSize{name: name, bytes: dirSize(path)} }
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// dirSize adds up the files below path. Those that go meanwhile do not count.
func dirSize(path string) (total int64) {
	_ = filepath.WalkDir(path, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return nil //nolint:nilerr // what went meanwhile does not count
		}
		if info, err := entry.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}

// diskGauges registers what is read from the files when it is scraped.
func (m *nodeMetrics) diskGauges(n *Node) {
	gauge := func(name string, f func() float64) { m.set.GetOrCreateGauge(name, f) }
	for _, size := range n.stores.sizes {
		name := size().name
		gauge(fmt.Sprintf(`oprc_disk_file_bytes{file=%q}`, name), func() float64 { return float64(size().bytes) })
		gauge(fmt.Sprintf(`oprc_disk_file_free_bytes{file=%q}`, name), func() float64 { return float64(size().free) })
	}
	gauge(`oprc_disk_file_bytes{file="state"}`, func() float64 { return float64(n.fsm.FileStats().Bytes) })
	gauge(`oprc_disk_file_free_bytes{file="state"}`, func() float64 { return float64(n.fsm.FileStats().FreeBytes) })
	gauge(`oprc_disk_file_bytes{file="snapshots"}`, func() float64 { return float64(dirSize(n.dir.file(snapsDir))) })
	gauge("oprc_disk_snapshots", func() float64 { return float64(len(n.snapshotTimes())) })
	gauge("oprc_disk_snapshot_age_seconds", func() float64 {
		newest := time.Time{}
		for _, at := range n.snapshotTimes() {
			if at.After(newest) {
				newest = at
			}
		}
		if newest.IsZero() {
			return 0
		}
		return time.Since(newest).Seconds()
	})
}

// snapshotTimes are when the snapshots were finished.
func (n *Node) snapshotTimes() []time.Time {
	found, _ := filepath.Glob(filepath.Join(n.dir.file(snapsDir), "*", "state.bin"))
	var times []time.Time
	for _, path := range found {
		info, err := os.Stat(path)
		if err == nil && filepath.Ext(filepath.Dir(path)) != ".tmp" {
			times = append(times, info.ModTime())
		}
	}
	return times
}
