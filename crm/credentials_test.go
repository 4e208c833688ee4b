package crm

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
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
