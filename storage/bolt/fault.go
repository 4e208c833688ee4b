package bolt

// Fault is asked before an operation on a file, and what it returns takes the
// operation's place. It is nil but in tests, which let a disk fail, or stall, with
// it. The operations are create, write, sync, rename and syncdir.
type Fault func(op, path string) error

// Before asks f, if there is one.
func (f Fault) Before(op, path string) error {
	if f == nil {
		return nil
	}
	return f(op, path)
}
