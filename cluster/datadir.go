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
	path string
	lock *os.File

	mu     sync.Mutex // guards record
	record nodeRecord
}

// nodeRecord is node.json.
type nodeRecord struct {
	ServerID  string `json:"server_id"`
	LogStore  string `json:"log_store"`
	ClusterID string `json:"cluster_id,omitempty"`
}

// openDataDir locks dir and reads or creates node.json.
func openDataDir(dir, logStore string) (_ *dataDir, err error) {
	for _, d := range []string{dir, filepath.Join(dir, "raft"), filepath.Join(dir, "fsm")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("create data directory: %w", err)
		}
	}
	d := &dataDir{path: dir}
	if err := d.acquire(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	found, err := readJSON(d.file("node.json"), &d.record)
	if err != nil {
		return nil, err
	}
	if !found {
		d.record = nodeRecord{ServerID: randomID(), LogStore: logStore}
		if err := writeJSON(d.file("node.json"), d.record); err != nil {
			return nil, err
		}
	}
	if len(d.record.ServerID) != 32 {
		return nil, fmt.Errorf("read node.json: server id %q must have 32 hexadecimal digits", d.record.ServerID)
	}
	if d.record.LogStore != logStore {
		return nil, fmt.Errorf("data directory %s was created with log store %q and cannot be opened with %q: "+
			"set the log store back to %q, or let this node rejoin with an empty data directory after it was removed from the cluster",
			dir, d.record.LogStore, logStore, d.record.LogStore)
	}
	return d, nil
}

func (d *dataDir) file(elem ...string) string {
	return filepath.Join(append([]string{d.path}, elem...)...)
}

// acquire takes the lock. The kernel releases it when the process ends, however
// it ends.
func (d *dataDir) acquire() error {
	f, err := os.OpenFile(d.file("LOCK"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open lock file: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
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
	if err := writeJSON(d.file("node.json"), record); err != nil {
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
		return false, fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	return true, nil
}

// writeJSON replaces path so that after a crash there is the old file or the
// new one, whole.
func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		err = writeFileSync(path, append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}

func writeFileSync(path string, b []byte) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp) // the next attempt truncates it
		return err
	}
	return syncDir(filepath.Dir(path))
}

// removeSync deletes path durably; an absent file is not an error.
func removeSync(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
