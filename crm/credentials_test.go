package crm

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// What is missing is told to everybody, and where files are to nobody but the
// log.
func TestCredentialsReason(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err  error
		want string
	}{
		{errNoToken, "no bearer token is known"},
		{fmt.Errorf("read: %w", errNoPassword), "no password is known"},
		{errBadSecret, "cannot be sent"},
		{fmt.Errorf("read /secret/place/token: %w", fs.ErrPermission), "credentials cannot be used"},
		{errors.New("anything"), "credentials cannot be used"},
	} {
		if got := credentialsReason(test.err); !strings.Contains(got, test.want) || strings.Contains(got, "/secret") {
			t.Errorf("reason of %v: %q, want %q in it", test.err, got, test.want)
		}
	}
}

// A pipe in the place of a file of credentials does not hold calls up for ever.
func TestWatchedFileIsNoPipe(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := newWatchedFile(path).readOptional()
	if err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("got %v, want it refused", err)
	}
}
