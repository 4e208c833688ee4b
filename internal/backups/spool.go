package backups

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// spool is a file without a name: it is gone when it is closed, or with the process.
type spool struct{ file *os.File }

func newSpool(dir string) (*spool, error) {
	file, err := os.CreateTemp(dir, "backup-*.tmp")
	if err == nil {
		if err = os.Remove(file.Name()); err != nil {
			err = errors.Join(err, file.Close())
		}
	}
	if err != nil {
		return nil, fmt.Errorf("make a file for the backup: %w", err)
	}
	return &spool{file}, nil
}

// copyTo writes all of it.
func (s *spool) copyTo(w io.Writer) (int64, error) {
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return 0, fmt.Errorf("read the backup: %w", err)
	}
	return io.Copy(w, s.file)
}

func (s *spool) close() { _ = s.file.Close() } // nobody needs it any more

// fill takes all that source gives, and closes it.
func (s *spool) fill(source io.ReadCloser) error {
	_, err := io.Copy(s.file, source)
	if err = errors.Join(err, source.Close()); err != nil {
		return fmt.Errorf("fetch the backup: %w", err)
	}
	return nil
}
