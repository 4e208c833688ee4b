package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/oprc/oprc-pm/storage/bolt"
)

// files writes small files so that they survive a crash, whole. Its fault is nil
// but in tests.
type files struct{ fault bolt.Fault }

// writeJSON replaces path so that after a crash there is the old file or the
// new one, whole.
func (f files) writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		err = f.writeFileSync(path, append(b, '\n'))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}

func (f files) writeFileSync(path string, b []byte) error {
	tmp := path + ".tmp"
	err := f.writeNew(tmp, b)
	if err == nil {
		err = f.fault.Before("rename", path)
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		_ = os.Remove(tmp) // the next attempt truncates it
		return err
	}
	return f.syncDir(filepath.Dir(path))
}

func (f files) writeNew(path string, b []byte) error {
	if err := f.fault.Before("create", path); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err = f.fault.Before("write", path); err == nil {
		_, err = file.Write(b)
	}
	if err == nil {
		err = errors.Join(f.fault.Before("sync", path), file.Sync())
	}
	return errors.Join(err, file.Close())
}

// removeSync deletes path durably; an absent file is not an error.
func (f files) removeSync(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return f.syncDir(filepath.Dir(path))
}

func (f files) syncDir(dir string) error {
	return errors.Join(f.fault.Before("syncdir", dir), syncDir(dir))
}

func writeJSON(path string, v any) error { return files{}.writeJSON(path, v) }

func removeSync(path string) error { return files{}.removeSync(path) }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
