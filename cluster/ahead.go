package cluster

import "fmt"

// checkAhead refuses a state file that holds more than log and snapshots
// together: entries are applied only after they are in the log, so this log is
// not the one that the state came from, or its end was lost. To go on would make
// this node vote, and perhaps lead, without entries that it acknowledged.
func (s *raftStores) checkAhead(applied uint64) error {
	last, err := s.log.LastIndex()
	if err != nil {
		return fmt.Errorf("read the log's last index: %w", err)
	}
	snapshot, err := s.newestSnapshot()
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	if end := max(last, snapshot); applied > end {
		return fmt.Errorf("the state file has applied index %d, but log and snapshots end at index %d: the end of the log was lost; "+
			"put the raft directory that belongs to it back if there is a copy of it", applied, end)
	}
	return nil
}
