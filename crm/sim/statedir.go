package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// stateDir keeps one file per unit and one for the term. Each file is replaced
// as a whole, so a crash leaves the old one or the new one. The zero value keeps
// nothing. It is for one goroutine at a time.
//
//	units/NAME.json   a Unit, by its resource name
//	term              the highest term seen, in decimal
type stateDir struct{ dir string }

const unitSuffix = ".json"

func (d stateDir) unitsDir() string { return filepath.Join(d.dir, "units") }

func (d stateDir) unitPath(name string) string { return filepath.Join(d.unitsDir(), name+unitSuffix) }

func (d stateDir) termPath() string { return filepath.Join(d.dir, "term") }

func (d stateDir) load() (units map[string]Unit, term uint64, err error) {
	units = map[string]Unit{}
	if d.dir == "" {
		return units, 0, nil
	}
	if err := os.MkdirAll(d.unitsDir(), 0o750); err != nil {
		return nil, 0, fmt.Errorf("make state directory: %w", err)
	}
	entries, err := os.ReadDir(d.unitsDir())
	if err != nil {
		return nil, 0, fmt.Errorf("list units: %w", err)
	}
	for _, entry := range entries {
		id, isUnit := strings.CutSuffix(entry.Name(), unitSuffix)
		if !isUnit {
			continue // a temporary file of a write that a crash cut short
		}
		unit, err := readUnit(d.unitPath(id))
		if err != nil {
			return nil, 0, fmt.Errorf("read unit %s: %w", id, err)
		}
		units[id] = unit
	}
	text, err := os.ReadFile(d.termPath())
	if errors.Is(err, fs.ErrNotExist) {
		return units, 0, nil
	} else if err != nil {
		return nil, 0, fmt.Errorf("read term: %w", err)
	}
	if term, err = strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64); err != nil {
		return nil, 0, fmt.Errorf("read term: %w", err)
	}
	return units, term, nil
}

func readUnit(path string) (unit Unit, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return unit, err
	}
	return unit, json.Unmarshal(data, &unit)
}

func (d stateDir) putUnit(name string, unit Unit) error {
	if d.dir == "" {
		return nil
	}
	data, err := json.Marshal(unit)
	if err != nil {
		return fmt.Errorf("encode unit: %w", err)
	}
	return replaceFile(d.unitPath(name), data)
}

func (d stateDir) deleteUnit(name string) error {
	if d.dir == "" {
		return nil
	}
	if err := os.Remove(d.unitPath(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete unit: %w", err)
	}
	return syncDir(d.unitsDir())
}

func (d stateDir) putTerm(term uint64) error {
	if d.dir == "" {
		return nil
	}
	return replaceFile(d.termPath(), strconv.AppendUint(nil, term, 10))
}

// replaceFile writes data beside path, syncs it and renames it over path.
func replaceFile(path string, data []byte) (err error) {
	temporary, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return fmt.Errorf("make temporary file: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temporary.Name()))
		}
	}()
	_, writeErr := temporary.Write(data)
	if err := errors.Join(writeErr, temporary.Sync(), temporary.Close()); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	if err := os.Rename(temporary.Name(), path); err != nil {
		return fmt.Errorf("replace %s: %w", filepath.Base(path), err)
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}
