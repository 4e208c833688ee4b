//go:build !linux

package bench

import "syscall"

// childAttributes has no portable way to tie a child to its parent.
func childAttributes() *syscall.SysProcAttr { return nil }
