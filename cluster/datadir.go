package cluster

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/oprc/oprc-pm/storage"
)

// The data directory:
//
//	LOCK            held (flock) while a process has it open
//	node.json       who this node is; written once, cluster id added once
//	promise.json    the bootstrap promise given, while there is one
//	peers.json      newest known addresses of the other servers
//	raft/           stable.db, the log (log.db or wal/), snapshots/
//	fsm/            the applied state
//
// Directories are 0700 and files 0600.
type dataDir struct {
	files
	path string
	lock *os.File

	mu     sync.Mutex // guards record
	record nodeRecord
}

// nodeFormat is the layout of the data directory. A newer one is refused.
const nodeFormat = storage.DataDirFormat

// nodeRecord is node.json.
type nodeRecord struct {
	// Format is nodeFormat; directories made before it was recorded have none.
	Format    int    `json:"format,omitempty"`
	ServerID  string `json:"server_id"`
	LogStore  string `json:"log_store"`
	ClusterID string `json:"cluster_id,omitempty"`
}

// openDataDir locks dir and reads or creates node.json.
func openDataDir(dir, logStore string) (*dataDir, error) {
	return openDataDirWith(dir, logStore, files{})
}

func openDataDirWith(dir, logStore string, fs files) (_ *dataDir, err error) {
	for _, d := range []string{dir, filepath.Join(dir, "raft"), filepath.Join(dir, "fsm")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("create data directory: %w", err)
		}
	}
	d := &dataDir{path: dir, files: fs}
	if err := d.acquire(syscall.LOCK_EX); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	found, err := d.readRecord()
	if err != nil {
		return nil, err
	}
	if !found {
		d.record = nodeRecord{Format: nodeFormat, ServerID: randomID(), LogStore: logStore}
		if err := d.writeJSON(d.file("node.json"), d.record); err != nil {
			return nil, err
		}
	}
	if d.record.LogStore != logStore {
		return nil, fmt.Errorf("data directory %s was created with log store %q and cannot be opened with %q: "+
			"set the log store back to %q, or let this node rejoin with an empty data directory after it was removed from the cluster",
			dir, d.record.LogStore, logStore, d.record.LogStore)
	}
	return d, nil
}

// readRecord reads node.json. Without one there must be nothing else of a node:
// a new identity with the log of another would be two nodes in one.
func (d *dataDir) readRecord() (found bool, err error) {
	found, err = readJSON(d.file("node.json"), &d.record)
	if err == nil && found && len(d.record.ServerID) != 32 {
		err = fmt.Errorf("server id %q must have 32 hexadecimal digits", d.record.ServerID)
	}
	if err != nil {
		return found, d.damaged("node.json", err, d.rejoinRemedy())
	}
	if d.record.Format > nodeFormat {
		return found, d.damaged("node.json", fmt.Errorf("the directory has format %d, this program understands %d", d.record.Format, nodeFormat), remedyNewer)
	}
	if found {
		return true, nil
	}
	for _, name := range []string{"raft/stable.db", "raft/log.db", "raft/wal", "fsm/state.db"} {
		if _, err := os.Stat(d.file(name)); err == nil {
			return false, d.damaged("node.json", fmt.Errorf("it is missing, but %s of a node is there", name), d.rejoinRemedy())
		}
	}
	return false, nil
}

func (d *dataDir) file(elem ...string) string {
	return filepath.Join(append([]string{d.path}, elem...)...)
}

// acquire takes the lock. The kernel releases it when the process ends, however
// it ends.
func (d *dataDir) acquire(how int) error {
	f, err := os.OpenFile(d.file("LOCK"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open lock file: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); err != nil {
		_ = f.Close() // nothing was written
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("data directory %s is in use by another process", d.path)
		}
		return fmt.Errorf("lock data directory: %w", err)
	}
	d.lock = f
	return nil
}

func (d *dataDir) close() {
	if d.lock != nil {
		_ = d.lock.Close() // the lock goes with it, whatever it says
		d.lock = nil
	}
}

func (d *dataDir) serverID() string { return d.record.ServerID }

func (d *dataDir) clusterID() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.record.ClusterID
}

// saveClusterID records the cluster this node belongs to, once and for all.
func (d *dataDir) saveClusterID(id string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.record.ClusterID == id {
		return nil
	}
	if d.record.ClusterID != "" {
		return fmt.Errorf("this node belongs to cluster %s, not to %s", d.record.ClusterID, id)
	}
	record := d.record
	record.ClusterID = id
	if err := d.writeJSON(d.file("node.json"), record); err != nil {
		return err
	}
	d.record = record
	return nil
}

// randomID draws 128 random bits, in hexadecimal.
func randomID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// readJSON reports whether path exists; it fails when it cannot be decoded.
func readJSON(path string, v any) (bool, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		return true, fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	return true, nil
}
