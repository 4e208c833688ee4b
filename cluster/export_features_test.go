package cluster

// Feature is feature, for tests.
type Feature struct {
	Level         int
	Name, Release string
	Kinds         []byte
}

// Features returns the table.
func Features() []Feature {
	out := make([]Feature, 0, len(features))
	for _, f := range features {
		out = append(out, Feature{f.level, f.name, f.release, f.kinds})
	}
	return out
}
