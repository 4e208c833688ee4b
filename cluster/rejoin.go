package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"github.com/oprc/oprc-pm/storage/bolt"
)

// asidePrefix begins the names of the directories that damaged data is moved to,
// inside the data directory: a rename within one disk loses nothing.
const asidePrefix = "aside-"

// SetAside is what Rejoin or Rebuild did.
type SetAside struct {
	DataDir string `json:"data_dir"`
	// Voters are those that the directory knew of.
	Voters []Peer `json:"voters"`
	// To is where the data is now.
	To    string   `json:"to"`
	Moved []string `json:"moved"`
}

// ErrOnlyCopy is returned by Rejoin when the directory may be the only one that
// holds the cluster's data.
var ErrOnlyCopy = errors.New("this directory may hold the only copy of the cluster's data")

// lockStopped takes the lock of a directory whatever is in it.
func lockStopped(dir string) (*dataDir, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", dir)
	}
	d := &dataDir{path: dir}
	return d, d.acquire(syscall.LOCK_EX)
}

// Rejoin moves everything in the data directory of a stopped node aside, so that
// its next start is that of a new node, which joins the others with nothing. It is
// refused, but for force, where by all that the directory tells nobody else has a
// vote: then nobody else has the data.
func Rejoin(dir string, force bool) (r SetAside, err error) {
	d, err := lockStopped(dir)
	if err != nil {
		return r, err
	}
	defer d.close()
	r.DataDir = dir
	voters, known := d.votersKnown()
	r.Voters = voters
	own := d.ownID()
	others := 0
	for _, v := range voters {
		if v.ID != own {
			others++
		}
	}
	switch {
	case force:
	case known && others == 0:
		return r, fmt.Errorf("%w: it knows of no other voter; restore a backup into a new directory, or use force", ErrOnlyCopy)
	case !known && !d.knowsPeers(own):
		return r, fmt.Errorf("%w: it cannot be read who else has a vote, and no other node is remembered; use force if there are others", ErrOnlyCopy)
	}
	// What tells of others goes last: after a crash in between, the command can be
	// given again.
	return r, d.setAside(&r, []string{"fsm", "promise.json", raiseFile, tempDir, reserveName, "raft", "names.json", "peers.json", "node.json"})
}

// Rebuild moves the state file of a stopped node aside; the next start makes it
// anew from snapshot and log. It is refused where those could not do that.
func Rebuild(dir string) (r SetAside, err error) {
	report, err := Check(dir)
	if err != nil {
		return r, err
	}
	for _, p := range report.Problems {
		if p.File != filepath.Join(dir, filepath.FromSlash(stateFile)) {
			return r, &DamageError{File: p.File, Err: fmt.Errorf("the state cannot be rebuilt: %s", p.Problem), Remedy: p.Remedy}
		}
	}
	d, err := lockStopped(dir)
	if err != nil {
		return r, err
	}
	defer d.close()
	r.DataDir, r.Voters = dir, report.Configuration
	return r, d.setAside(&r, []string{"fsm"})
}

// setAside moves what is there of names.
func (d *dataDir) setAside(r *SetAside, names []string) error {
	to := d.file(asidePrefix + time.Now().UTC().Format("20060102T150405.000Z"))
	if err := os.Mkdir(to, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	r.To, r.Moved = to, []string{}
	for _, name := range names {
		err := os.Rename(d.file(name), filepath.Join(to, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("move %s aside: %w", name, err)
		}
		r.Moved = append(r.Moved, name)
		if err := errors.Join(syncDir(to), syncDir(d.path)); err != nil {
			return fmt.Errorf("move %s aside: %w", name, err)
		}
	}
	return nil
}

// ownID is who the node is, as far as that can be read.
func (d *dataDir) ownID() string {
	var record nodeRecord
	if _, err := readJSON(d.file("node.json"), &record); err != nil {
		return ""
	}
	return record.ServerID
}

// knowsPeers reports whether an address of another server is remembered.
func (d *dataDir) knowsPeers(own string) bool {
	addrs := map[string]string{}
	if _, err := readJSON(d.file("peers.json"), &addrs); err != nil {
		return false
	}
	delete(addrs, own)
	return len(addrs) > 0
}

// votersKnown finds the newest configuration that can be read. known is false when
// there is none, or when what is newer than it cannot be read.
func (d *dataDir) votersKnown() (voters []Peer, known bool) {
	report := check(d)
	if len(report.Configuration) > 0 {
		voters, known = votersOf(report.Configuration), true
	}
	for _, p := range report.Problems {
		if strings.HasPrefix(p.File, d.file("raft")) {
			known = false // there may have been a newer one
		}
	}
	if known {
		return voters, true
	}
	// The state keeps the configuration that was applied last.
	if m, err := bolt.CheckFile(d.file(stateFile)); err == nil && len(m.Configuration) > 0 {
		applied, err := decodeConfiguration(m.Configuration)
		if err == nil {
			return votersOf(applied), true
		}
	}
	if len(voters) > 1 {
		return voters, true
	}
	return voters, false
}

func votersOf(peers []Peer) []Peer {
	var voters []Peer
	for _, p := range peers {
		if !p.NonVoter {
			voters = append(voters, p)
		}
	}
	return voters
}

// decodeConfiguration is raft.DecodeConfiguration for bytes that may be damaged.
func decodeConfiguration(b []byte) (peers []Peer, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("decode configuration: %v", cause)
		}
	}()
	return peersOf(raft.DecodeConfiguration(b).Servers), nil
}
