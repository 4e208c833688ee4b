package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
)

func TestWhySilent(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7000}, Err: errors.New("connection refused")}
	for _, tc := range []struct {
		name string
		err  error
		want string
	}{
		{"refused", fmt.Errorf("%w: connect to abc: %w", errNotSent, refused), "no answer from 127.0.0.1:7000: connection refused"},
		{"late", fmt.Errorf("ask for status: %w", context.DeadlineExceeded), "no answer within 1s"},
		{"other", errors.New("answer to no question"), "no answer: answer to no question"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := whySilent(tc.err); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
