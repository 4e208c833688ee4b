package fsm

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/oprc/oprc-pm/storage/bolt"
)

// The power-loss rule. The state file is not synced with every transaction, so
// after a loss of power some of its pages may be old and others new. A process
// that merely crashed leaves all it wrote with the kernel. Which of the two it
// was shows in the boot mark: the id of the kernel's boot under which the file
// was last open, or the word clean after an orderly, synced close. Unclean under
// another boot (or an unknown one) means that the file cannot be trusted; it is
// discarded and rebuilt from the last snapshot and the log, which are synced.
const (
	bootMarkFile = "boot"
	cleanMark    = "clean"
	suspectMark  = "suspect"
)

// bootIDPath is where Linux tells the id of its boot. Elsewhere the id is
// unknown and every unclean file is rebuilt.
const bootIDPath = "/proc/sys/kernel/random/boot_id"

type bootMark struct {
	path string
	// previous is the content found at open; "" when there was none.
	previous string
	// boot is the id of the running boot; "" when unknown.
	boot  string
	fault bolt.Fault
}

// Trusted reports whether the state file in dir will be used when it is opened, and
// not be rebuilt.
func Trusted(dir string) bool {
	m, err := openBootMark(dir, "")
	return err == nil && m.trusted()
}

func openBootMark(dir, boot string) (bootMark, error) {
	m := bootMark{path: filepath.Join(dir, bootMarkFile), boot: boot}
	if m.boot == "" {
		if id, err := os.ReadFile(bootIDPath); err == nil {
			m.boot = strings.TrimSpace(string(id))
		}
	}
	previous, err := os.ReadFile(m.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return m, fmt.Errorf("read boot mark: %w", err)
	}
	m.previous = strings.TrimSpace(string(previous))
	return m, nil
}

// trusted reports whether the file that goes with the mark holds all that was
// written to it.
func (m bootMark) trusted() bool {
	return m.previous == cleanMark || (m.boot != "" && m.previous == m.boot)
}

// setRunning records that the file is open under this boot.
func (m bootMark) setRunning() error {
	if m.boot == "" {
		return m.write("unknown")
	}
	return m.write(m.boot)
}

// setClean records that the file was synced and closed.
func (m bootMark) setClean() error { return m.write(cleanMark) }

// setSuspect records that the file must not be trusted even under this boot: a
// write that the disk refused may be gone from the kernel's memory as well.
func (m bootMark) setSuspect() error { return m.write(suspectMark) }

func (m bootMark) write(content string) error {
	fresh := m.path + ".new"
	if _, err := writeFile(fresh, strings.NewReader(content+"\n"), m.fault); err != nil {
		return fmt.Errorf("write boot mark: %w", err)
	}
	if err := m.fault.Before("rename", m.path); err != nil {
		return fmt.Errorf("write boot mark: %w", err)
	}
	if err := os.Rename(fresh, m.path); err != nil {
		return fmt.Errorf("write boot mark: %w", err)
	}
	return bolt.SyncDir(filepath.Dir(m.path))
}

// discardUntrusted removes a state file that the power-loss rule condemns.
func discardUntrusted(path string, mark bootMark, logger *slog.Logger) error {
	if err := removeIfThere(path + ".restore"); err != nil {
		return fmt.Errorf("remove unfinished restore: %w", err)
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if mark.trusted() {
		return nil
	}
	logger.Warn("state file may have lost writes with the power, rebuilding it from snapshot and log", "path", path)
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("discard state file: %w", err)
	}
	return nil
}
