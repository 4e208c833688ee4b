package bench

import "syscall"

// childAttributes keeps ^C from the child, whose end is for its parent to order,
// and kills it when the parent is killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
